"""One shard of a knowledge store: an Arrow IPC *file* (a cut *stream* would read as fewer rows without an error)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from structkd.errors import DataError
from structkd.knowledge.extraction import PARTS, Knowledge


class Shard:
    """Flat columns of one memory-mapped shard and where each sentence begins in them."""

    def __init__(self, path: Path, num_tags: int, parts: Collection[str]) -> None:
        self.table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().combine_chunks()
        self.num_tags = num_tags
        self.columns: dict[str, tuple[np.ndarray, list[int]]] = {}
        for name in ("log_marginals", "transition_counts", "paths", "scores", *parts):
            array = self.table[name].chunk(0)
            # Offsets as a list: numpy's scalars would make up half the time of reading a sentence.
            self.columns[name] = (array.values.to_numpy(zero_copy_only=True), array.offsets.to_pylist())
        self.entropy: list[float] = self.table["entropy"].to_pylist()

    def knowledge(self, row: int) -> Knowledge:
        """The knowledge of a sentence; its arrays are views of the file."""
        log_marginals = self._row("log_marginals", row).reshape(-1, self.num_tags)
        return Knowledge(
            log_marginals,
            self._row("transition_counts", row).reshape(self.num_tags, self.num_tags),
            self.entropy[row],
            self._row("paths", row).reshape(-1, len(log_marginals)),
            self._row("scores", row),
            *(self._row(part, row).reshape(-1, self.num_tags) if part in self.columns else None for part in PARTS),
        )

    def _row(self, name: str, row: int) -> np.ndarray:
        values, offsets = self.columns[name]
        return values[offsets[row] : offsets[row + 1]]


def encode(
    rows: Sequence[tuple[str, str, Knowledge]], num_tags: int, *, dtype: str, parts: Collection[str]
) -> pa.Buffer:
    """The bytes of a shard of (sentence id, token fingerprint, knowledge).

    Args:
        dtype: float16 or float32, of all that is a probability, a count or a potential.
        parts: of PARTS, those that every row has.

    Raises:
        DataError: a row lacks one of the parts.
    """
    for name, _, item in rows:
        missing = [part for part in parts if getattr(item, part) is None]
        if missing:
            raise DataError(
                f"sentence {name}: there are no {' and no '.join(missing)} to be kept: mixtures, merged tags and "
                "annotations have none; objectives emission, emission_mse and substructure_mse need a single teacher "
                "with the student's tags, or ensemble: {combine: product}"
            )
    real = np.dtype(dtype)
    tag = np.dtype(np.uint8 if num_tags <= 256 else np.uint16)
    knowledge = [row[2] for row in rows]
    columns = {
        "id": pa.array([row[0] for row in rows], pa.string()),
        "tokens": pa.array([row[1] for row in rows], pa.string()),
        "log_marginals": _lists([item.log_marginals for item in knowledge], real),
        "transition_counts": _lists([item.transition_counts for item in knowledge], real),
        "entropy": pa.array([item.entropy for item in knowledge], pa.float32(), from_pandas=False),
        "paths": _lists([item.paths for item in knowledge], tag),
        # Scores are compared with each other, so float16 would be too coarse for long sentences.
        "scores": _lists([item.scores for item in knowledge], np.dtype(np.float32)),
    }
    for part in parts:
        columns[part] = _lists([getattr(item, part) for item in knowledge], real)
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _lists(arrays: list[np.ndarray], dtype: np.dtype) -> pa.Array:
    with np.errstate(over="ignore"):
        flat = np.concatenate([array.reshape(-1) for array in arrays]).astype(dtype)
    offsets = np.concatenate(([0], np.cumsum([array.size for array in arrays])))
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(flat))
