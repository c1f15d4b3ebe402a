"""The knowledge store: what a teacher knows about a corpus, on disk.

A folder of Arrow IPC *file* shards and a `manifest.json` with row counts and SHA-256 sums. It is memory-mapped: a
student trains from it without the teacher in memory. Shards are written one after the other, each whole or absent,
so a cut-off extraction goes on where it stopped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from structkd.errors import IntegrityError
from structkd.knowledge.extraction import Knowledge
from structkd.storage import file_sha256, read_json, write_atomic, write_json

MANIFEST = "manifest.json"
FORMAT = 1
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


class KnowledgeWriter:
    """Writes a store shard by shard; `written` says how many sentences are already there.

    Raises:
        IntegrityError: the folder holds a store made from something else.
    """

    def __init__(self, directory: Path, facts: StoreFacts) -> None:
        self.directory = directory
        self.facts = facts
        self.manifest: dict[str, Any] = {"format": FORMAT, "facts": asdict(facts), "complete": False, "shards": []}
        path = directory / MANIFEST
        if path.is_file():
            found = read_json(path)
            if found["facts"] != asdict(facts):
                raise IntegrityError(
                    f"{directory} holds knowledge of another teacher or corpus; remove it or use --runs"
                )
            intact = [shard for shard in found["shards"] if not _fault(directory, shard)]
            # Sentences are stored in order: what follows a damaged shard is written again.
            keep = next((i for i, shard in enumerate(found["shards"]) if shard not in intact), len(found["shards"]))
            self.manifest["shards"] = found["shards"][:keep]

    @property
    def written(self) -> int:
        """Sentences in the shards that are complete."""
        return sum(shard["rows"] for shard in self.manifest["shards"])

    def write_shard(self, rows: list[tuple[str, str, Knowledge]]) -> None:
        """Append a shard of (sentence id, token fingerprint, knowledge)."""
        name = f"shard-{len(self.manifest['shards']):05d}.arrow"
        table = _table(rows, self.facts)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        write_atomic(self.directory / name, sink.getvalue().to_pybytes())
        size = (self.directory / name).stat().st_size
        shard = {"file": name, "rows": len(rows), "bytes": size, "sha256": file_sha256(self.directory / name)}
        self.manifest["shards"].append(shard)
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

    Raises:
        IntegrityError: the store is missing, incomplete or damaged; the message names the shard.
    """

    def __init__(self, directory: Path, *, check: bool = True) -> None:
        self.directory = directory
        path = directory / MANIFEST
        if not path.is_file():
            raise IntegrityError(f"no knowledge at {directory}: run `structkd extract`")
        manifest = read_json(path)
        if not manifest["complete"]:
            raise IntegrityError(f"the knowledge at {directory} is incomplete: run `structkd extract` again")
        faults = [fault for shard in manifest["shards"] if check and (fault := _fault(directory, shard))]
        if faults:
            raise IntegrityError("damaged knowledge: " + "; ".join(faults) + "; run `structkd extract` again")
        self.facts = StoreFacts(**manifest["facts"])
        self.bytes = sum(shard["bytes"] for shard in manifest["shards"])
        self._shards = [_Shard(directory / shard["file"], len(self.facts.labels)) for shard in manifest["shards"]]
        self._starts = np.cumsum([0] + [shard["rows"] for shard in manifest["shards"]])[:-1].tolist()

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


class _Shard:
    """Flat columns of one memory-mapped shard and where each sentence begins in them."""

    def __init__(self, path: Path, num_tags: int) -> None:
        self.table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
        self.num_tags = num_tags
        self.columns: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name in ("log_marginals", "transition_counts", "paths", "scores"):
            array = self.table[name].chunk(0)
            values, offsets = array.values.to_numpy(zero_copy_only=True), array.offsets.to_numpy(zero_copy_only=True)
            self.columns[name] = (values, offsets)
        self.entropy = self.table["entropy"].to_numpy()

    def _row(self, name: str, row: int) -> np.ndarray:
        values, offsets = self.columns[name]
        return values[offsets[row] : offsets[row + 1]]

    def knowledge(self, row: int) -> Knowledge:
        log_marginals = self._row("log_marginals", row).reshape(-1, self.num_tags)
        counts = self._row("transition_counts", row).reshape(self.num_tags, self.num_tags)
        paths = self._row("paths", row).reshape(-1, len(log_marginals))
        return Knowledge(log_marginals, counts, float(self.entropy[row]), paths, self._row("scores", row))


def _table(rows: list[tuple[str, str, Knowledge]], facts: StoreFacts) -> pa.Table:
    real = np.dtype(facts.dtype)
    tag = np.dtype(np.uint8 if len(facts.labels) <= 256 else np.uint16)
    knowledge = [row[2] for row in rows]
    return pa.table(
        {
            "id": pa.array([row[0] for row in rows], pa.string()),
            "tokens": pa.array([row[1] for row in rows], pa.string()),
            "log_marginals": _lists([item.log_marginals for item in knowledge], real),
            "transition_counts": _lists([item.transition_counts for item in knowledge], real),
            "entropy": pa.array([item.entropy for item in knowledge], pa.float32()),
            "paths": _lists([item.paths for item in knowledge], tag),
            # Scores are compared with each other, so float16 would be too coarse for long sentences.
            "scores": _lists([item.scores for item in knowledge], np.dtype(np.float32)),
        }
    )


def _lists(arrays: list[np.ndarray], dtype: np.dtype) -> pa.Array:
    with np.errstate(over="ignore"):
        flat = np.concatenate([array.reshape(-1) for array in arrays]).astype(dtype)
    offsets = np.concatenate(([0], np.cumsum([array.size for array in arrays])))
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(flat))


def _fault(directory: Path, shard: dict[str, Any]) -> str | None:
    """What is wrong with a shard, or None."""
    path = directory / shard["file"]
    if not path.is_file():
        return f"{path} is missing"
    if path.stat().st_size != shard["bytes"]:
        return f"{path} has {path.stat().st_size} bytes instead of {shard['bytes']}"
    return None if file_sha256(path) == shard["sha256"] else f"{path} does not match its SHA-256"
