"""Several teachers as one: routed by language, mixed or multiplied, and cross-fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from structkd.corpus import Sentence, token_fingerprint
from structkd.crf import LinearChainCRF
from structkd.errors import DataError, UsageError
from structkd.knowledge import Knowledge, Question, allowed_tags, extract, mixture
from structkd.teacher.teacher import Chain, Progress, Source

COMBINATIONS = ("mixture", "product")


class Member(NamedTuple):
    """A teacher of an ensemble and its weight, above 0; weights are normalised."""

    source: Source
    weight: float = 1.0


class TeacherEnsemble:
    """Labels each sentence by the teachers of its language; several of them are combined.

    - mixture: sum_m w_m p_m. Expectations are averaged, exactly; k-best lists are united with weights w_m p_m, an
      approximation.
    - product: the normalised product of p_m^w_m. Potentials are averaged, and everything that follows is exact. What
      one teacher forbids, all forbid.

    Args:
        members: teachers by language; the same teacher may stand at several languages.
        combine: "mixture" or "product".
        batch_size: sentences at a time in a product.

    Raises:
        UsageError: a language without teachers, a weight that is not above 0, or another combination.
    """

    def __init__(
        self, members: Mapping[str, Sequence[Member]], *, combine: str = "mixture", batch_size: int = 64
    ) -> None:
        if combine not in COMBINATIONS:
            raise UsageError(f"combine is {combine!r}, expected one of {', '.join(COMBINATIONS)}")
        for language, team in members.items():
            if not team or any(not member.weight > 0 for member in team):
                weights = [member.weight for member in team]
                raise UsageError(f"{language}: expected at least one teacher, all with weights above 0, got {weights}")
        self.members = {language: list(team) for language, team in members.items()}
        self.combine = combine
        self.batch_size = batch_size

    def knowledge(
        self, sentences: Sequence[Sentence], asked: Question, *, progress: Progress | None = None
    ) -> list[Knowledge]:
        """What the teachers of its language know about each sentence, in their order."""
        found: dict[int, Knowledge] = {}
        for language, indices in self._routes(sentences).items():
            part = [sentences[i] for i in indices]
            shifted = _shifted(progress, len(found), len(sentences))
            found.update(zip(indices, self._ask(self.members[language], part, asked, shifted), strict=True))
        return [found[i] for i in range(len(sentences))]

    def chains(self, sentences: Sequence[Sentence]) -> list[Chain]:
        """The potentials of the product of the teachers of each sentence.

        Raises:
            DataError: several teachers are mixed, and a mixture is no chain.
        """
        found: dict[int, Chain] = {}
        for language, indices in self._routes(sentences).items():
            team, part = self.members[language], [sentences[i] for i in indices]
            if len(team) > 1 and self.combine == "mixture":
                raise DataError(f"the {len(team)} teachers of {language} are mixed, and a mixture is no chain")
            found.update(zip(indices, _product(team, part), strict=True))
        return [found[i] for i in range(len(sentences))]

    def _routes(self, sentences: Sequence[Sentence]) -> dict[str, list[int]]:
        routes: dict[str, list[int]] = {}
        for index, sentence in enumerate(sentences):
            routes.setdefault(sentence.language, []).append(index)
        foreign = [language for language in routes if language not in self.members]
        if foreign:
            raise DataError(
                f"no teacher for {', '.join(foreign)} (first sentence {sentences[routes[foreign[0]][0]].id}); "
                f"there are teachers for {', '.join(self.members)}"
            )
        return routes

    def _ask(
        self,
        team: Sequence[Member],
        sentences: Sequence[Sentence],
        asked: Question,
        progress: Progress | None,
    ) -> list[Knowledge]:
        if len(team) == 1:
            return team[0].source.knowledge(sentences, asked, progress=progress)
        if self.combine == "product":
            chains = _product(team, sentences)
            found = extract_chains(chains, asked, batch_size=self.batch_size, progress=progress)
            for sentence, item in zip(sentences, found, strict=True):
                if np.isneginf(item.log_marginals).all():
                    raise DataError(
                        f"sentence {sentence.language}:{sentence.id}: its {len(team)} teachers together forbid every "
                        "tagging; expected ensemble: {combine: mixture}"
                    )
            return found
        answers = [
            member.source.knowledge(sentences, asked._replace(parts=()), progress=_part(progress, m, len(team)))
            for m, member in enumerate(team)
        ]
        weights = [member.weight for member in team]
        return [
            _mixed(sentence, parts, weights, asked.k)
            for sentence, parts in zip(sentences, zip(*answers, strict=True), strict=True)
        ]


class CrossFittedTeacher:
    """Teachers trained on all folds of the gold sentences but one, each asked about what it did not see.

    Sentences outside the gold sentences are labelled by the teacher that was trained on all of them, so that a
    comparison with and without folds differs in the knowledge about gold sentences only.

    Args:
        whole: the teacher trained on everything.
        folds: the teachers that lack a fold, in the order of the folds.
        fold_of: token fingerprint -> fold of every gold sentence, see `assign_folds`.
    """

    def __init__(self, whole: Source, folds: Sequence[Source], fold_of: Mapping[str, int]) -> None:
        self.sources = [*folds, whole]
        self.fold_of = fold_of

    def knowledge(
        self, sentences: Sequence[Sentence], asked: Question, *, progress: Progress | None = None
    ) -> list[Knowledge]:
        """What is known about each sentence by the teacher that did not see it."""
        found: dict[int, Knowledge] = {}
        for source, indices in self._routes(sentences):
            part = [sentences[i] for i in indices]
            shifted = _shifted(progress, len(found), len(sentences))
            answers = source.knowledge(part, asked, progress=shifted)
            found.update(zip(indices, answers, strict=True))
        return [found[i] for i in range(len(sentences))]

    def chains(self, sentences: Sequence[Sentence]) -> list[Chain]:
        """The potentials of each sentence by the teacher that did not see it."""
        found: dict[int, Chain] = {}
        for source, indices in self._routes(sentences):
            found.update(zip(indices, source.chains([sentences[i] for i in indices]), strict=True))
        return [found[i] for i in range(len(sentences))]

    def _routes(self, sentences: Sequence[Sentence]) -> list[tuple[Source, list[int]]]:
        groups: list[list[int]] = [[] for _ in self.sources]
        for index, sentence in enumerate(sentences):
            groups[self.fold_of.get(token_fingerprint(sentence.words), -1)].append(index)
        return [(source, group) for source, group in zip(self.sources, groups, strict=True) if group]


def assign_folds(sentences: Sequence[Sentence], folds: int) -> dict[str, int]:
    """Token fingerprint -> fold: every k-th sentence goes to the same fold, repeated sentences to that of the first.

    Raises:
        UsageError: there are fewer different sentences than folds.
    """
    different = dict.fromkeys(token_fingerprint(sentence.words) for sentence in sentences)
    if not 2 <= folds <= len(different):
        raise UsageError(f"{len(different)} different sentences cannot make {folds} folds: expected 2 or more folds")
    return {tokens: index % folds for index, tokens in enumerate(different)}


def extract_chains(
    chains: Sequence[Chain], asked: Question, *, batch_size: int = 64, progress: Progress | None = None
) -> list[Knowledge]:
    """Everything that objectives need from chains of single sentences."""
    found: list[Knowledge] = []
    for start in range(0, len(chains), batch_size):
        part = chains[start : start + batch_size]
        batch = LinearChainCRF(
            pad_sequence([chain.emissions for chain in part], batch_first=True),
            torch.stack([chain.transitions for chain in part]),
            torch.stack([chain.start_transitions for chain in part]),
            torch.stack([chain.end_transitions for chain in part]),
            torch.tensor([len(chain.emissions) for chain in part]),
        )
        found += extract(batch, asked)
        if progress is not None:
            progress(len(found), len(chains))
    return found


def _product(team: Sequence[Member], sentences: Sequence[Sentence]) -> list[Chain]:
    total = sum(member.weight for member in team)
    answers = [member.source.chains(sentences) for member in team]
    shares = [member.weight / total for member in team]
    return [
        Chain._make(
            sum((share * part for share, part in zip(shares, parts, strict=True)), start=torch.zeros(()))
            for parts in zip(*chains, strict=True)
        )
        for chains in zip(*answers, strict=True)
    ]


def _mixed(sentence: Sentence, parts: Sequence[Knowledge], weights: Sequence[float], k: int) -> Knowledge:
    """The mixture of those who know something about a sentence."""
    partial_tags = [allowed_tags(part) for part in parts]
    known = [i for i, allowed in enumerate(partial_tags) if allowed is None]
    if any(allowed is not None and not allowed.all() for allowed in partial_tags):
        raise DataError(
            f"sentence {sentence.language}:{sentence.id} is tagged in part, which is no distribution to be mixed with "
            "those of other teachers; expected ensemble: {combine: product}, which asks them given the known tags"
        )
    if not known:
        return parts[0]
    return mixture([parts[i] for i in known], [weights[i] for i in known], k)


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    if progress is None:
        return None
    return lambda done, _: progress(before + done, total)


def _part(progress: Progress | None, index: int, parts: int) -> Progress | None:
    """Progress of one of several passes over the same sentences."""
    if progress is None:
        return None
    return lambda done, total: progress((index * total + done) // parts, total)
