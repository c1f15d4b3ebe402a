"""A teacher: a trained tagger that answers in the labels of a student."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from structkd.corpus import Sentence
from structkd.crf import LinearChainCRF
from structkd.errors import DataError
from structkd.knowledge import Knowledge, Question, extract, merge_tags
from structkd.labels import LabelMap, LabelSet
from structkd.tagger import CRFTagger, WordTagger, distributions, load_any

logger = logging.getLogger(__name__)

LEAST_SHARE = 0.2
"""Mean probability of what the student can express, below which a label map is likely to be wrong."""

Progress = Callable[[int, int], None]
"""Called with the sentences that are done, and with their number."""


class Chain(NamedTuple):
    """The potentials of one sentence of n words over the student's C tags, in nats; -inf where forbidden."""

    emissions: Tensor  # [n, C]
    transitions: Tensor  # [C, C]
    start_transitions: Tensor  # [C]
    end_transitions: Tensor  # [C]


class Source(Protocol):
    """Whoever knows something about sentences: a teacher, several of them, or annotations of another maker."""

    def knowledge(
        self, sentences: Sequence[Sentence], asked: Question, *, progress: Progress | None = None
    ) -> list[Knowledge]:
        """What is known about each sentence, in the student's tags."""

    def chains(self, sentences: Sequence[Sentence]) -> list[Chain]:
        """The potentials of each sentence, for a product.

        Raises:
            DataError: what is known is no chain over the student's tags.
        """


class Teacher:
    """A tagger and the map from its labels to the student's.

    Raises:
        DataError: the map is not one from the tagger's labels.
    """

    def __init__(
        self, tagger: WordTagger, label_map: LabelMap | LabelSet, *, name: str = "teacher", batch_size: int = 64
    ) -> None:
        if isinstance(label_map, LabelSet):
            label_map = LabelMap.between(tagger.labels, label_map, who=name)
        if label_map.source != tagger.labels:
            raise DataError(
                f"{name} has the labels {', '.join(tagger.labels.tags)} ({tagger.labels.scheme or 'no scheme'}); "
                f"the label map is from {', '.join(label_map.source.tags)} ({label_map.source.scheme or 'no scheme'})"
            )
        self.tagger = tagger
        self.label_map = label_map
        self.name = name
        self.batch_size = batch_size

    @classmethod
    def load(
        cls,
        directory: Path,
        labels: LabelSet,
        *,
        names: Mapping[str, str | None] | None = None,
        lacks: Sequence[str] = (),
        scheme: str | None = None,
        device: str = "cpu",
    ) -> Teacher:
        """A teacher from the folder of a tagger, or of any Hugging Face token classifier.

        Args:
            labels: of the student.
            names, lacks: how its labels map to the student's, see `LabelMap.between`.
            scheme: of a token classifier's labels where their prefixes do not tell.
        """
        tagger = load_any(directory, scheme=scheme, device=device)
        label_map = LabelMap.between(tagger.labels, labels, names, lacks=lacks, who=str(directory))
        return cls(tagger, label_map, name=str(directory))

    def knowledge(
        self, sentences: Sequence[Sentence], asked: Question, *, progress: Progress | None = None
    ) -> list[Knowledge]:
        """What the teacher knows about each sentence, in their order and in the student's tags."""
        found: dict[int, Knowledge] = {}
        for indices, chain in self._fine(sentences, progress):
            items = knowledge_of(chain, self.label_map, asked)
            found.update(zip(indices, items, strict=True))
        return [found[i] for i in range(len(sentences))]

    def chains(self, sentences: Sequence[Sentence]) -> list[Chain]:
        """The potentials of each sentence over the student's tags; a tag that the teacher lacks is forbidden.

        Raises:
            DataError: tags are merged, and potentials cannot be.
        """
        mapped = self.label_map
        if mapped.joins_potentials:
            raise DataError(
                f"{self.name}: several of its tags become one of the student's, and potentials cannot be merged, only "
                "expectations; expected ensemble: {combine: mixture}"
            )
        found: dict[int, Chain] = {}
        for indices, chain in self._fine(sentences, None):
            wide = spread_chain(chain, mapped)
            for row, index in enumerate(indices):
                length = len(sentences[index])
                found[index] = Chain(wide.emissions[row, :length], *(part[row] for part in wide[1:]))
        return [found[i] for i in range(len(sentences))]

    def predict(self, sentences: Sequence[Sequence[str]], *, languages: Sequence[str] | None = None) -> list[list[str]]:
        """The teacher's best tag sequence of each sentence that the student can express, in the student's tags."""
        tags = self.label_map.target.tags
        targets = self.label_map.target_ids
        predicted: list[list[str]] = [[] for _ in sentences]
        for indices, chain in self._distributions(sentences, languages, None):
            for index, path in zip(indices, chain.argmax.tags.tolist(), strict=True):
                predicted[index] = [tags[targets[fine]] for fine in path[: len(sentences[index])]]
        return predicted

    def _fine(
        self, sentences: Sequence[Sentence], progress: Progress | None
    ) -> Iterator[tuple[list[int], LinearChainCRF]]:
        return self._distributions([s.words for s in sentences], [s.language for s in sentences], progress)

    def _distributions(
        self, sentences: Sequence[Sequence[str]], languages: Sequence[str] | None, progress: Progress | None
    ) -> Iterator[tuple[list[int], LinearChainCRF]]:
        """Distributions over fine tags."""
        shares = []
        for indices, chain in distributions(self.tagger, sentences, batch_size=self.batch_size, progress=progress):
            fine = fine_chain(chain, self.label_map)
            if not (self.label_map.is_identity and isinstance(self.tagger.model, CRFTagger)):
                shares.append((fine.log_partition - chain.log_partition).exp())
            yield indices, fine
        share = float(torch.cat(shares).mean()) if shares else 1.0
        if share < LEAST_SHARE:
            logger.warning(
                "%s gives %.0f%% of its probability to taggings that the student can express; are its labels %s?",
                self.name,
                100 * share,
                self.label_map.source.scheme or "what its card says",
            )


def fine_chain(chain: LinearChainCRF, label_map: LabelMap) -> LinearChainCRF:
    """A teacher's distribution over the fine tags of a label map.

    The potentials are copied to the fine tags, and what either side forbids is forbidden before forward-backward, not
    renormalised after it: the teacher's distribution given that the student can express the tagging.
    """
    if not label_map.is_identity:
        ids = torch.tensor(label_map.source_ids, device=chain.emissions.device)
        chain = LinearChainCRF(
            chain.emissions.index_select(-1, ids),
            chain.transitions.index_select(-1, ids).index_select(-2, ids),
            chain.start_transitions.index_select(-1, ids),
            chain.end_transitions.index_select(-1, ids),
            chain.lengths,
        )
    return chain if label_map.legal is None else chain.condition(label_map.legal)


def knowledge_of(chain: LinearChainCRF, label_map: LabelMap, asked: Question) -> list[Knowledge]:
    """Everything that objectives need, in the student's tags, from distributions over the fine tags of a map."""
    items = extract(chain, asked)
    targets, num_tags = label_map.target_ids, len(label_map.target)
    if targets == list(range(num_tags)):
        return items
    return [merge_tags(item, targets, num_tags, entropy_is_known=not label_map.merges) for item in items]


def spread_chain(chain: LinearChainCRF, label_map: LabelMap) -> Chain:
    """Potentials of a batch in the columns of the tags that fine tags stand for, -inf in the other columns, on the CPU.

    Args:
        label_map: one that does not join potentials.

    Returns:
        emissions [B, T, C], transitions [B, C, C], start and end [B, C].
    """
    targets, num_tags = label_map.target_ids, len(label_map.target)
    ids = torch.tensor(targets, device=chain.emissions.device)
    batch, length, _ = chain.emissions.shape

    def spread(values: Tensor, shape: tuple[int, ...]) -> Tensor:
        return values.new_full((*shape, num_tags), -torch.inf).index_copy(-1, ids, values.expand(*shape, len(targets)))

    rows = spread(chain.transitions, (batch, len(targets)))
    transitions = rows.new_full((batch, num_tags, num_tags), -torch.inf).index_copy(-2, ids, rows)
    return Chain(
        spread(chain.emissions, (batch, length)).cpu(),
        transitions.cpu(),
        spread(chain.start_transitions, (batch,)).cpu(),
        spread(chain.end_transitions, (batch,)).cpu(),
    )
