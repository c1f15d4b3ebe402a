"""Imported annotations as a teacher: what somebody else has written down about sentences.

- Tags are certainty about one tagging: every objective becomes the likelihood of these tags.
- Tags of which some are unknown say which tags are possible: the student maximises the likelihood of all taggings that
  agree (`LinearChainCRF.log_prob_partial`), whatever the objective.
- An n-best list is the distribution over the list, weights normalised: its expectations and entropy are exact.
- Posteriors are what `posterior` asks for. For `structural` and the k-best objectives they are a chain with zero
  transitions: the maker has said nothing about how tags depend on each other. Where the labels have a scheme, that
  chain is conditioned on the taggings that the scheme allows, for all objectives alike.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from structkd.corpus import Annotation, Sentence, match_annotations, read_annotations, token_fingerprint
from structkd.corpus.files import Faults
from structkd.crf import LinearChainCRF
from structkd.errors import DataError
from structkd.knowledge import Knowledge, Question, only_possible, weighted_paths
from structkd.labels import LabelMap, repair
from structkd.teacher.teacher import Chain, Progress, fine_chain, knowledge_of, spread_chain

logger = logging.getLogger(__name__)


class _Entry(NamedTuple):
    """An annotation in the student's tags; exactly one field is there, none where nothing can be said."""

    line: int
    allowed: np.ndarray | None = None  # [n, C] bool
    paths: tuple[list[list[int]], list[float]] | None = None
    emissions: torch.Tensor | None = None  # [n, tags of the maker], log-probabilities

    @property
    def says_nothing(self) -> bool:
        return self.allowed is None and self.paths is None and self.emissions is None


class Annotations:
    """Annotations of another maker, as a source of knowledge about the sentences that it annotated.

    About other sentences nothing is known. Tags that the label map drops are conditioned away: a list goes without
    the taggings that have them, and about a sentence whose only tagging has one, nothing is known.

    Args:
        annotations: with words, see `match_annotations`.
        label_map: from the labels of the maker to the student's.
        path: of the file, for messages.

    Raises:
        DataError: lists every line with a tag that the maker's labels lack, or that no legal tagging agrees with.
    """

    def __init__(self, annotations: Sequence[Annotation], label_map: LabelMap, path: Path) -> None:
        self.label_map = label_map
        self.path = path
        self.sentences: list[tuple[tuple[str, ...], str]] = []
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._repaired = 0
        faults = Faults(path)
        for annotation in annotations:
            words = annotation.words or ()
            try:
                entry = self._entry(annotation)
            except DataError as error:
                faults.add(annotation.line, str(error))
                continue
            self.sentences.append((words, annotation.id))
            self._entries[annotation.id, token_fingerprint(words)] = entry
        faults.raise_if_any()
        silent = sum(entry.says_nothing for entry in self._entries.values())
        if silent:
            logger.warning("%s: of %d sentences only tags are known that are dropped, left out", path, silent)
        if self._repaired:
            logger.warning("%s: %d tags broke the scheme %s, repaired", path, self._repaired, label_map.source.scheme)

    @classmethod
    def read(
        cls, path: Path, label_map: LabelMap, *, language: str | None = None, corpus: Sequence[Sentence] | None = None
    ) -> Annotations:
        """Annotations from a JSONL file (`structkd.corpus.annotations` describes it).

        Args:
            language: of the sentences.
            corpus: the sentences that the file is about; None where it brings its own words.

        Raises:
            DataError: lists every faulty line.
        """
        return cls(match_annotations(read_annotations(path, language=language), corpus, path), label_map, path)

    @property
    def are_posteriors(self) -> bool:
        """Whether every annotation has potentials over the student's tags."""
        return all(entry.emissions is not None for entry in self._entries.values())

    def text(self, language: str) -> list[Sentence]:
        """The annotated sentences, without tags."""
        return [Sentence(words, None, language, identifier) for words, identifier in self.sentences]

    def knows(self, sentence: Sentence) -> bool:
        """Whether anything can be said about a sentence."""
        return not self._find(sentence).says_nothing

    def knowledge(
        self, sentences: Sequence[Sentence], asked: Question, *, progress: Progress | None = None
    ) -> list[Knowledge]:
        """What is known about each sentence, in their order and in the student's tags.

        N-best lists are cut to k in the list only, not in the expectations; a temperature is that of the potentials of
        posteriors, and of the weights of n-best lists; only posteriors have emissions and transitions.
        """
        num_tags = len(self.label_map.target)
        entries = [self._find(sentence) for sentence in sentences]
        found: dict[int, Knowledge] = {}
        for index, (sentence, entry) in enumerate(zip(sentences, entries, strict=True)):
            if entry.paths is not None:
                paths, weights = entry.paths
                item = weighted_paths(paths, [weight ** (1 / asked.temperature) for weight in weights], num_tags)
                found[index] = item._replace(paths=item.paths[: asked.k], scores=item.scores[: asked.k])
            elif entry.emissions is None:
                nothing = np.ones((len(sentence), num_tags), dtype=bool)
                found[index] = only_possible(nothing if entry.allowed is None else entry.allowed)
        chains = [index for index in range(len(sentences)) if index not in found]
        for start in range(0, len(chains), 64):
            part = chains[start : start + 64]
            batch = fine_chain(self._batch([entries[i] for i in part]), self.label_map)
            items = knowledge_of(batch, self.label_map, asked)
            found.update(zip(part, items, strict=True))
        if progress is not None:
            progress(len(sentences), len(sentences))
        return [found[i] for i in range(len(sentences))]

    def chains(self, sentences: Sequence[Sentence]) -> list[Chain]:
        """The potentials of each sentence over the student's tags.

        Known tags forbid all others, so that in a product they condition the other teachers.

        Raises:
            DataError: an n-best list of several taggings, which is no chain, or tags that are merged.
        """
        found = []
        num_tags = len(self.label_map.target)
        zeros = torch.zeros(num_tags)
        for sentence in sentences:
            entry = self._find(sentence)
            if entry.emissions is not None:
                if self.label_map.joins_potentials:
                    raise DataError(f"{self.path}: several of its tags become one; expected combine: mixture")
                batch = fine_chain(self._batch([entry]), self.label_map)
                found.append(Chain._make(part[0] for part in spread_chain(batch, self.label_map)))
                continue
            allowed = entry.allowed if entry.allowed is not None else np.ones((len(sentence), num_tags), dtype=bool)
            if entry.paths is not None:
                if len(entry.paths[0]) > 1:
                    raise DataError(
                        f"{self.path}, line {entry.line}: an n-best list is no chain, expected combine: mixture"
                    )
                allowed = np.eye(num_tags, dtype=bool)[entry.paths[0][0]]
            emissions = torch.from_numpy(allowed).float().log()
            found.append(Chain(emissions, torch.outer(zeros, zeros), zeros, zeros))
        return found

    def _find(self, sentence: Sentence) -> _Entry:
        return self._entries.get((sentence.id, token_fingerprint(sentence.words)), _Entry(0))

    def _entry(self, annotation: Annotation) -> _Entry:
        if annotation.posteriors is not None:
            return _Entry(annotation.line, emissions=self._log_probabilities(annotation.posteriors))
        if annotation.tags is not None and None in annotation.tags:
            return _Entry(annotation.line, allowed=self._allowed(annotation.tags))
        if annotation.nbest is not None:
            return _Entry(annotation.line, paths=self._paths(annotation.nbest))
        certain = tuple(tag for tag in annotation.tags or () if tag is not None)
        return _Entry(annotation.line, paths=self._paths(((certain, 1.0),)))

    def _paths(self, taggings: Sequence[tuple[Sequence[str], float]]) -> tuple[list[list[int]], list[float]] | None:
        source, target = self.label_map.source, self.label_map.target
        totals: dict[tuple[int, ...], float] = {}
        for tags, weight in taggings:
            source.ids(tags)
            if source.scheme is not None:
                tags, repaired = repair(tags, source.scheme)
                self._repaired += repaired
            converted = self.label_map.convert(tags)
            if converted is not None:
                path = tuple(target.ids(converted))
                totals[path] = totals.get(path, 0.0) + weight
        return ([list(path) for path in totals], list(totals.values())) if totals else None

    def _allowed(self, tags: Sequence[str | None]) -> np.ndarray | None:
        source, label_map = self.label_map.source, self.label_map
        ids = [None if tag is None else source.id(tag) for tag in tags]
        fine = np.array([[tag is None or own == tag for own in label_map.source_ids] for tag in ids])
        if all(tag is None for tag in tags) or not _is_expressible(fine, label_map):
            return None
        matrix = np.zeros((len(label_map.fine), len(label_map.target)), dtype=bool)
        matrix[range(len(matrix)), label_map.target_ids] = True
        allowed: np.ndarray = fine @ matrix
        return allowed

    def _log_probabilities(self, posteriors: Sequence[dict[str, float]]) -> torch.Tensor | None:
        source = self.label_map.source
        values = torch.zeros(len(posteriors), len(source), dtype=torch.float64)
        for row, shares in enumerate(posteriors):
            values[row, source.ids(shares)] = torch.tensor(list(shares.values()), dtype=torch.float64)
        possible = values[:, self.label_map.source_ids].numpy() > 0
        return values.log() if _is_expressible(possible, self.label_map) else None

    def _batch(self, entries: Sequence[_Entry]) -> LinearChainCRF:
        """Posteriors as chains with zero transitions over the maker's tags."""
        rows = [entry.emissions for entry in entries if entry.emissions is not None]
        zeros = torch.zeros(len(self.label_map.source), dtype=torch.float64)
        lengths = torch.tensor([len(row) for row in rows])
        return LinearChainCRF(pad_sequence(rows, batch_first=True), torch.outer(zeros, zeros), zeros, zeros, lengths)


def _is_expressible(possible: np.ndarray, label_map: LabelMap) -> bool:
    """Whether possible fine tags [n, F] leave a tagging; False where a word has dropped tags only.

    Raises:
        DataError: every word has a tag, but no sequence of them is legal.
    """
    if not possible.any(1).all():
        return False
    legal = label_map.legal
    if legal is None:
        return True
    reached = possible[0] & legal.start.numpy()
    for row in possible[1:]:
        reached = row & (reached[:, None] & legal.transitions.numpy()).any(0)
    if not (reached & legal.end.numpy()).any():
        scheme = label_map.source.scheme or label_map.target.scheme
        raise DataError(f"no tagging that the scheme {scheme} allows agrees with its tags")
    return True
