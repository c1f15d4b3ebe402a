"""Which sentences make a batch: mixed anew each epoch, of similar length, languages balanced by an exponent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

POOL_BATCHES = 50  # sentences of this many batches are sorted by length together


class LengthBatches(Sampler[list[int]]):
    """Batches of sentences of similar length; every epoch has its own order, a function of seed and epoch only.

    Args:
        lengths: words of each sentence.
        languages: language of each sentence.
        batch_size: sentences a batch.
        balance_exponent: a language with n sentences is drawn in proportion to n ** exponent: 1 takes every
            sentence once an epoch, 0 draws all languages equally often. The epoch keeps its size.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        languages: Sequence[str],
        batch_size: int,
        *,
        seed: int,
        balance_exponent: float = 1.0,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.balance_exponent = balance_exponent
        self.epoch = 0
        groups: dict[str, list[int]] = defaultdict(list)
        for index, language in enumerate(languages):
            groups[language].append(index)
        self.groups = [np.asarray(groups[language]) for language in sorted(groups)]

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(self._drawn(random))
        pool = self.batch_size * POOL_BATCHES
        batches = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            # Ties broken at random, or sentences of one length would meet again and again.
            part = part[np.lexsort((random.random(len(part)), self.lengths[part]))]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        for index in random.permutation(len(batches)):
            yield batches[index].tolist()

    def _drawn(self, random: np.random.Generator) -> np.ndarray:
        """The sentences of an epoch, grouped by language."""
        total = len(self.lengths)
        if self.balance_exponent == 1.0:
            return np.concatenate(self.groups)
        sizes = np.array([len(group) for group in self.groups], dtype=float) ** self.balance_exponent
        ends = np.round(np.cumsum(sizes / sizes.sum()) * total).astype(int)
        counts = np.diff(ends, prepend=0)
        drawn = []
        for group, count in zip(self.groups, counts, strict=True):
            rounds = [random.permutation(group) for _ in range(-(-int(count) // len(group)))]
            drawn.append(np.concatenate([*rounds, group[:0]])[:count])
        return np.concatenate(drawn)
