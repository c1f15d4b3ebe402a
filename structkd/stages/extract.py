"""Stage 2: ask teachers once about the text that the student learns from, and keep the answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from structkd.corpus import Sentence, token_fingerprint
from structkd.errors import IntegrityError, UsageError
from structkd.knowledge import PARTS, KnowledgeStore, KnowledgeWriter, Question, StoreFacts
from structkd.recipe import Recipe
from structkd.stages.corpora import Corpora, Text, corpus_fingerprint, load_corpora
from structkd.stages.jobs import Context, Report
from structkd.stages.labelling import Labeller, ensemble
from structkd.stages.objectives import objective_of
from structkd.storage import fingerprint


@dataclass(frozen=True)
class ExtractJob:
    """Write the knowledge store of one text: what its teachers know about it."""

    text: str
    labellers: tuple[Labeller, ...]
    facts: StoreFacts

    @property
    def seed(self) -> int | None:
        """Of the students that learn from it; None: of all."""
        return next((labeller.student for labeller in self.labellers if labeller.student is not None), None)

    @property
    def key(self) -> str:
        """Name of the store: its text and a fingerprint of what it is made from."""
        return f"{self.text}-{fingerprint(self.facts)}"

    @property
    def title(self) -> str:
        seed = "" if self.seed is None else f" seed {self.seed}"
        return f"extract {self.text}{seed}"

    def is_done(self, context: Context) -> bool:
        try:
            KnowledgeStore(context.run.knowledge(self.key))
        except IntegrityError:
            return False
        return True

    def run(self, context: Context, report: Report) -> None:
        corpora = load_corpora(context.recipe)
        sentences = labelled_text(corpora.texts[self.text])
        writer = KnowledgeWriter(context.run.knowledge(self.key), self.facts)
        teachers = ensemble(self.labellers, sentences, context, corpora)
        for wanted in writer.todo:
            part = sentences[wanted.start : wanted.stop]
            written = writer.written

            def count(done: int, _: int, written: int = written) -> None:
                report(written + done, len(sentences), "sentences")

            begun = time.perf_counter()
            asked = Question(self.facts.k, self.facts.temperature, self.facts.parts)
            found = teachers.knowledge(part, asked, progress=count)
            rows = [(s.id, token_fingerprint(s.words), item) for s, item in zip(part, found, strict=True)]
            writer.write_shard(wanted.start, rows, seconds=time.perf_counter() - begun)
        writer.finish()

    def summary(self, context: Context) -> StoreSummary:
        """What its store holds, and what that cost."""
        store = KnowledgeStore(context.run.knowledge(self.key), check=False)
        return StoreSummary(
            text=self.text,
            store=self.key,
            sentences=len(store),
            tokens=store.words,
            bytes=store.bytes,
            bytes_per_token=round(store.bytes / max(store.words, 1), 2),
            sentences_per_second=round(len(store) / store.seconds, 1) if store.seconds else None,
        )


class StoreSummary(NamedTuple):
    """A knowledge store in numbers; sentences per second are those of the extraction, network and all."""

    text: str
    store: str
    sentences: int
    tokens: int
    bytes: int
    bytes_per_token: float
    sentences_per_second: float | None


def labelled_text(text: Text) -> list[Sentence]:
    """The sentences that teachers are asked about: gold first, then untagged."""
    return text.gold + text.untagged


def _without_potentials(text: Text, team: Sequence[Labeller], recipe: Recipe, corpora: Corpora) -> str | None:
    """Why those who label a text have no potentials over the student's tags, or None if they have."""
    if len(team) > 1 and recipe.ensemble.combine == "mixture":
        return "a mixture has none"
    for card in text.teachers:
        if corpora.maps[card].joins_potentials:
            return f"several tags of teacher {card} become one, and only expectations can be merged"
        if card in corpora.annotations and not corpora.annotations[card].are_posteriors:
            return f"annotations {card} are not all posteriors"
    return None


def extract_jobs(recipe: Recipe, corpora: Corpora, labellers: Mapping[str, Sequence[Labeller]]) -> list[ExtractJob]:
    """One job a text.

    Raises:
        UsageError: an objective asks for potentials that those who label a text do not have.
    """
    needed = {part for objective in recipe.objective for part in objective_of(objective).needs}
    parts = sorted(needed.intersection(PARTS))
    jobs = []
    for name, text in corpora.texts.items():
        team = tuple(labeller for card in text.teachers for labeller in labellers[card])
        if parts and (reason := _without_potentials(text, team, recipe, corpora)):
            raise UsageError(
                f"the objectives {', '.join(recipe.objective)} ask for the {' and '.join(parts)} of whoever labels "
                f"{name}, but {reason}; expected objectives that match expectations, such as structural or posterior"
            )
        sentences = labelled_text(text)
        combined = [recipe.ensemble.combine, *([labeller.key, labeller.weight] for labeller in team)]
        facts = StoreFacts(
            teacher=team[0].key if len(team) == 1 else fingerprint(combined),
            corpus=corpus_fingerprint(sentences),
            labels=list(corpora.labels.tags),
            temperature=recipe.knowledge.temperature,
            # Pseudo-labels are the best path, so one path is always kept.
            k=max(recipe.knowledge.k, 1),
            dtype=recipe.knowledge.dtype,
            sentences=len(sentences),
            parts=parts,
        )
        jobs.append(ExtractJob(name, team, facts))
    return jobs
