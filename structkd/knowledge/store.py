"""The knowledge store: what a teacher knows about a corpus, on disk.

A folder of Arrow IPC *file* shards and a `manifest.json` with row counts and SHA-256 sums. It is memory-mapped: a
student trains from it without the teacher in memory. Every shard holds a fixed range of the sentences and is there
whole or not at all, so that a cut-off extraction goes on, and a damaged shard is redone alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from structkd.errors import IntegrityError
from structkd.knowledge.extraction import Knowledge
from structkd.knowledge.shards import Shard, encode
from structkd.storage import file_sha256, read_json, write_atomic, write_json

MANIFEST = "manifest.json"
FORMAT = 2
SHARD_SENTENCES = 2048


@dataclass(frozen=True)
class StoreFacts:
    """What a store was made from; two stores with equal facts hold equal knowledge."""

    teacher: str  # fingerprint of the teacher's weights and card
    corpus: str  # fingerprint of the sentences, in order
    labels: list[str]  # tags in the order of their ids
    temperature: float
    k: int
    dtype: str  # float16 | float32
    sentences: int
    parts: list[str] = field(default_factory=list)  # kept besides, out of structkd.knowledge.PARTS


class KnowledgeWriter:
    """Writes a store shard by shard; `todo` says which sentences are still to be written.

    Args:
        shard_sentences: of each shard but the last; a store that was begun keeps its own.

    Raises:
        IntegrityError: the folder holds a store made from something else.
    """

    def __init__(self, directory: Path, facts: StoreFacts, *, shard_sentences: int = SHARD_SENTENCES) -> None:
        self.directory = directory
        self.facts = facts
        self.manifest: dict[str, Any] = {
            "format": FORMAT,
            "facts": asdict(facts),
            "shard_sentences": shard_sentences,
            "complete": False,
            "shards": [],
        }
        found = _readable(directory / MANIFEST)
        if found is not None:
            if found["facts"] != asdict(facts):
                raise IntegrityError(
                    f"{directory} holds knowledge of another teacher or corpus; remove it or use --runs"
                )
            self.manifest["shard_sentences"] = found["shard_sentences"]
            self.manifest["shards"] = [shard for shard in found["shards"] if not _fault(directory, shard)]

    @property
    def todo(self) -> list[range]:
        """Sentences of the shards that are missing or damaged, shard by shard."""
        size, end = self.manifest["shard_sentences"], self.facts.sentences
        there = {shard["first"] for shard in self.manifest["shards"]}
        return [range(first, min(first + size, end)) for first in range(0, end, size) if first not in there]

    @property
    def written(self) -> int:
        """Sentences in the shards that are complete."""
        return sum(shard["rows"] for shard in self.manifest["shards"])

    def write_shard(self, first: int, rows: list[tuple[str, str, Knowledge]], *, seconds: float | None = None) -> None:
        """Write a shard.

        Args:
            first: where one of `todo` begins.
            rows: sentence id, token fingerprint and knowledge of each of its sentences.
            seconds: how long it took to find them out, for the record.
        """
        path = self.directory / f"shard-{first // self.manifest['shard_sentences']:05d}.arrow"
        facts = self.facts
        write_atomic(path, encode(rows, len(facts.labels), dtype=facts.dtype, parts=facts.parts).to_pybytes())
        shard = {
            "file": path.name,
            "first": first,
            "rows": len(rows),
            "words": sum(len(item.log_marginals) for _, _, item in rows),
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
            "seconds": seconds,
        }
        self.manifest["shards"] = sorted([*self.manifest["shards"], shard], key=lambda one: one["first"])
        self._save()

    def finish(self) -> None:
        """Mark the store as complete."""
        if self.written != self.facts.sentences:
            raise IntegrityError(f"{self.directory}: {self.written} of {self.facts.sentences} sentences were written")
        self.manifest["complete"] = True
        self._save()

    def _save(self) -> None:
        write_json(self.directory / MANIFEST, self.manifest)


class KnowledgeStore:
    """A complete store, read without copies.

    Attributes:
        bytes: size of all shards.
        words: of all sentences.
        seconds: that the teacher took for them; None where that is not known.

    Raises:
        IntegrityError: the store is missing, incomplete or damaged; the message names every damaged shard.
    """

    def __init__(self, directory: Path, *, check: bool = True) -> None:
        self.directory = directory
        faults = store_faults(directory, hashes=check)
        if faults:
            raise IntegrityError("; ".join(faults) + ": run `structkd extract`, which redoes only what is damaged")
        manifest = read_json(directory / MANIFEST)
        shards = manifest["shards"]
        self.facts = StoreFacts(**manifest["facts"])
        self.bytes = sum(shard["bytes"] for shard in shards)
        self.words = sum(shard["words"] for shard in shards)
        seconds = [shard["seconds"] for shard in shards]
        self.seconds: float | None = None if None in seconds else sum(seconds)
        labels, parts = len(self.facts.labels), self.facts.parts
        self._shards = [Shard(directory / shard["file"], labels, parts) for shard in shards]
        self._starts = [shard["first"] for shard in shards]

    def __len__(self) -> int:
        return self.facts.sentences

    def __getitem__(self, index: int) -> Knowledge:
        if not 0 <= index < len(self):
            raise IndexError(f"sentence {index} of a store of {len(self)}")
        shard = bisect_right(self._starts, index) - 1
        return self._shards[shard].knowledge(index - self._starts[shard])

    def keys(self) -> Iterator[tuple[str, str]]:
        """Sentence id and token fingerprint of every row, in order."""
        for shard in self._shards:
            yield from zip(shard.table["id"].to_pylist(), shard.table["tokens"].to_pylist(), strict=True)

    def check_sentences(self, keys: Iterable[tuple[str, str]]) -> None:
        """Refuse knowledge about other sentences than the given (id, token fingerprint) pairs."""
        for position, (stored, wanted) in enumerate(zip(self.keys(), keys, strict=True)):
            if stored != wanted:
                raise IntegrityError(
                    f"{self.directory}: row {position} is about sentence {stored[0]!r} ({stored[1]}), "
                    f"the corpus has {wanted[0]!r} ({wanted[1]}) there; run `structkd extract` again"
                )


def store_faults(directory: Path, *, hashes: bool = True) -> list[str]:
    """All that is wrong with a store, a line each: nothing there, cut off, or damaged shards by name.

    Args:
        hashes: whether to read every shard and compare its SHA-256; otherwise only presence and size are looked at.
    """
    if not (directory / MANIFEST).is_file():
        return [f"there is no knowledge at {directory}"]
    try:
        manifest = read_json(directory / MANIFEST)
    except IntegrityError as error:
        return [str(error)]
    if manifest["format"] != FORMAT:
        return [f"the knowledge at {directory} has format {manifest['format']}, expected {FORMAT}: remove it"]
    faults = [fault for shard in manifest["shards"] if (fault := _fault(directory, shard, hashes=hashes))]
    if not manifest["complete"]:
        rows = sum(shard["rows"] for shard in manifest["shards"])
        faults.append(f"{directory} is incomplete: {rows} of {manifest['facts']['sentences']} sentences")
    return faults


def _readable(path: Path) -> dict[str, Any] | None:
    """A manifest, or None where nothing usable is there: without their sums, shards cannot be trusted."""
    try:
        found: dict[str, Any] = read_json(path)
    except IntegrityError:
        return None
    return found if found["format"] == FORMAT else None


def _fault(directory: Path, shard: dict[str, Any], *, hashes: bool = True) -> str | None:
    """What is wrong with a shard, or None."""
    path = directory / shard["file"]
    if not path.is_file():
        return f"{path} is missing"
    if path.stat().st_size != shard["bytes"]:
        return f"{path} has {path.stat().st_size} bytes instead of {shard['bytes']}"
    if hashes and file_sha256(path) != shard["sha256"]:
        return f"{path} does not match its SHA-256"
    return None
