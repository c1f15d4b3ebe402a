"""Stage 2: ask teachers once about the text that the student learns from, and keep the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from structkd.corpus import Sentence, token_fingerprint
from structkd.errors import IntegrityError
from structkd.knowledge import SHARD_SENTENCES, KnowledgeStore, KnowledgeWriter, StoreFacts
from structkd.recipe import Recipe
from structkd.stages.corpora import Corpora, Text, corpus_fingerprint, load_corpora
from structkd.stages.jobs import Context, Report
from structkd.stages.labelling import Labeller, ensemble
from structkd.storage import fingerprint


@dataclass(frozen=True)
class ExtractJob:
    """Write the knowledge store of one text: what its teachers know about it."""

    text: str
    labellers: tuple[Labeller, ...]
    facts: StoreFacts

    @property
    def key(self) -> str:
        """Name of the store: its text and a fingerprint of what it is made from."""
        return f"{self.text}-{fingerprint(self.facts)}"

    @property
    def title(self) -> str:
        return f"extract {self.text}"

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
        while (start := writer.written) < len(sentences):
            part = sentences[start : start + SHARD_SENTENCES]

            def count(done: int, _: int, start: int = start) -> None:
                report(start + done, len(sentences), "sentences")

            found = teachers.knowledge(part, k=self.facts.k, temperature=self.facts.temperature, progress=count)
            writer.write_shard([(s.id, token_fingerprint(s.words), item) for s, item in zip(part, found, strict=True)])
        writer.finish()


def labelled_text(text: Text) -> list[Sentence]:
    """The sentences that teachers are asked about: gold first, then untagged."""
    return text.gold + text.untagged


def extract_jobs(recipe: Recipe, corpora: Corpora, labellers: Mapping[str, Labeller]) -> list[ExtractJob]:
    """One job a text."""
    jobs = []
    for name, text in corpora.texts.items():
        sentences = labelled_text(text)
        team = tuple(labellers[card] for card in text.teachers)
        combined = [recipe.ensemble.combine, *([labeller.key, labeller.card.weight] for labeller in team)]
        facts = StoreFacts(
            teacher=team[0].key if len(team) == 1 else fingerprint(combined),
            corpus=corpus_fingerprint(sentences),
            labels=list(corpora.labels.tags),
            temperature=recipe.knowledge.temperature,
            # Pseudo-labels are the best path, so one path is always kept.
            k=max(recipe.knowledge.k, 1),
            dtype=recipe.knowledge.dtype,
            sentences=len(sentences),
        )
        jobs.append(ExtractJob(name, team, facts))
    return jobs
