"""Corpus files as lines of text, and the list of everything that is wrong with one."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import NamedTuple

from structkd.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_MOST_FAULTS_SHOWN = 20


class RawSentence(NamedTuple):
    """A sentence as a reader found it: `line` is that of its first word; id and language where the file gives them."""

    words: list[str]
    tags: list[str] | None
    line: int
    id: str | None = None
    language: str | None = None


class Faults:
    """Collects what is wrong with one source, to report all of it at once."""

    def __init__(self, source: str | Path) -> None:
        self.source = source
        self.messages: list[str] = []

    def add(self, line: int | None, message: str) -> None:
        """Note a fault; `line` counts from 1, None is for the source as a whole."""
        place = f"{self.source}:{line}" if line is not None else f"{self.source}"
        self.messages.append(f"{place}: {message}")

    def raise_if_any(self) -> None:
        """Raise a DataError with the first faults and the number of all."""
        if not self.messages:
            return
        shown = self.messages[:_MOST_FAULTS_SHOWN]
        more = len(self.messages) - len(shown)
        if more:
            shown.append(f"... and {more} more faults in {self.source}")
        raise DataError("\n".join(shown))


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 text file, unpacked if its content is gzip; no byte order mark, no line ends.

    Only LF and CR LF end a line: words may hold the other separators of Unicode.

    Raises:
        DataError: damaged gzip, bytes that are not UTF-8 (each line is named), or no content.
    """
    data = path.read_bytes()
    if data.startswith(_GZIP_MAGIC):
        try:
            data = gzip.decompress(data)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path}: damaged gzip ({error}); fetch or pack the file again") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        _report_bad_bytes(path, data)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.strip():
        raise DataError(f"{path}: the file is empty")
    return text.split("\n")


def _report_bad_bytes(path: Path, data: bytes) -> None:
    faults = Faults(path)
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            faults.add(
                number, f"byte 0x{line[error.start]:02x} at column {error.start + 1} is not UTF-8; convert the file"
            )
    faults.raise_if_any()
