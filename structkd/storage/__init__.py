"""Atomic files and folders, manifests with sha256, fingerprints, locks: the only room that renames files."""

from structkd.storage.atomic import atomic_directory, read_json, write_atomic, write_json
from structkd.storage.fingerprints import file_sha256, fingerprint
from structkd.storage.locking import lock
from structkd.storage.manifest import is_sealed, seal, verify

__all__ = [
    "atomic_directory",
    "file_sha256",
    "fingerprint",
    "is_sealed",
    "lock",
    "read_json",
    "seal",
    "verify",
    "write_atomic",
    "write_json",
]
