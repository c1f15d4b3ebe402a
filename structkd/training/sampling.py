"""Which sentences make a batch: mixed anew each epoch, of similar length, languages balanced by an exponent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

POOL_BATCHES = 50  # sentences of about this many batches are sorted by length together


class LengthBatches(Sampler[list[int]]):
    """Batches of sentences of similar length; every epoch has its own order, a function of seed and epoch only.

    All epochs have the same number of batches, by which a training run counts its steps and finds its place again.

    Args:
        lengths: words of each sentence.
        languages: language of each sentence.
        batch_size: sentences a batch.
        batch_tokens: words a batch, about; takes the place of `batch_size`. Long sentences then meet in small batches.
        balance_exponent: a language with n sentences is drawn in proportion to n ** exponent: 1 takes every
            sentence once an epoch, 0 draws all languages equally often. The epoch keeps its number of sentences.
        processes: that share the batches; the number of batches is a multiple of it.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        languages: Sequence[str],
        batch_size: int,
        *,
        seed: int,
        batch_tokens: int | None = None,
        balance_exponent: float = 1.0,
        processes: int = 1,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.by_tokens = batch_tokens is not None
        self.seed = seed
        self.balance_exponent = balance_exponent
        self.epoch = 0
        groups: dict[str, list[int]] = defaultdict(list)
        for index, language in enumerate(languages):
            groups[language].append(index)
        self.groups = [np.asarray(groups[language]) for language in sorted(groups)]
        wanted = self._expected_words() / batch_tokens if batch_tokens else len(self.lengths) / batch_size
        self.batches = min(-(-int(np.ceil(wanted)) // processes) * processes, len(self.lengths))

    def __len__(self) -> int:
        return self.batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        random = np.random.default_rng([self.seed, self.epoch])
        order = random.permutation(self._drawn(random))
        pool = -(-len(order) // self.batches) * POOL_BATCHES
        parts: list[np.ndarray] = []
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            # Ties broken at random, or sentences of one length would meet again and again.
            part = part[np.lexsort((random.random(len(part)), self.lengths[part]))]
            # Every other pool runs from long to short, so that a batch across two pools is of one length too.
            parts.append(part[::-1] if len(parts) % 2 else part)
        order = np.concatenate(parts)
        batches = np.split(order, self._cuts(order))
        for index in random.permutation(len(batches)):
            yield batches[index].tolist()

    def _cuts(self, order: np.ndarray) -> np.ndarray:
        """Where to cut so that all batches hold equally many sentences, or words; none is empty."""
        sizes = self.lengths[order] if self.by_tokens else np.ones(len(order))
        # A sentence belongs to the batch in which its middle falls.
        middles = np.cumsum(sizes) - sizes / 2
        cuts = np.searchsorted(middles, np.arange(1, self.batches) * sizes.sum() / self.batches)
        steps = np.arange(1, self.batches)
        cuts = np.maximum.accumulate(np.maximum(cuts - steps, 0)) + steps
        return np.minimum(cuts, len(order) - self.batches + steps)

    def _counts(self) -> np.ndarray:
        """Sentences of each language in an epoch."""
        if self.balance_exponent == 1.0:
            return np.array([len(group) for group in self.groups])
        sizes = np.array([len(group) for group in self.groups], dtype=float) ** self.balance_exponent
        ends = np.round(np.cumsum(sizes / sizes.sum()) * len(self.lengths)).astype(int)
        return np.diff(ends, prepend=0)

    def _expected_words(self) -> float:
        means = [self.lengths[group].mean() for group in self.groups]
        return float(np.dot(self._counts(), means))

    def _drawn(self, random: np.random.Generator) -> np.ndarray:
        """The sentences of an epoch, grouped by language."""
        drawn = []
        for group, count in zip(self.groups, self._counts(), strict=True):
            rounds = [random.permutation(group) for _ in range(-(-int(count) // len(group)))]
            drawn.append(np.concatenate([*rounds, group[:0]])[:count])
        return np.concatenate(drawn)
