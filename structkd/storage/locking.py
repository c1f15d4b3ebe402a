"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from structkd.errors import IntegrityError
from structkd.storage.manifest import LOCK_FILE


@contextmanager
def lock(path: str | Path) -> Iterator[None]:
    """Hold the folder `path` (created when missing) for this process while the block runs.

    The kernel drops the lock when the process dies, so a crash leaves nothing to clean up; the file `.lock` stays.

    Raises:
        IntegrityError: another process holds it; the message gives its process id.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    with open(path / LOCK_FILE, "a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise IntegrityError(
                f"another structkd process (pid {holder}) is working in {path}; wait for it or stop it, "
                "or choose another folder with --runs"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
