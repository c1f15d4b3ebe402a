"""Stage 2: ask every teacher once about the text of its language, and keep the answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from structkd.corpus import Sentence, token_fingerprint
from structkd.errors import IntegrityError
from structkd.knowledge import SHARD_SENTENCES, KnowledgeStore, KnowledgeWriter, StoreFacts
from structkd.recipe import Recipe, TeacherCard
from structkd.stages.corpora import Corpora, TeacherCorpus, corpus_fingerprint, load_corpora
from structkd.stages.jobs import Context, Report
from structkd.stages.teach import TeachJob
from structkd.storage import fingerprint
from structkd.teacher import Teacher


@dataclass(frozen=True)
class ExtractJob:
    """Write the knowledge store of one teacher."""

    card: TeacherCard
    teacher: TeachJob
    facts: StoreFacts

    @property
    def key(self) -> str:
        """Name of the store: its language and a fingerprint of what it is made from."""
        return f"{self.card.language}-{fingerprint(self.facts)}"

    @property
    def title(self) -> str:
        return self.teacher.title.replace("teach", "extract", 1)

    def is_done(self, context: Context) -> bool:
        try:
            KnowledgeStore(context.run.knowledge(self.key))
        except IntegrityError:
            return False
        return True

    def run(self, context: Context, report: Report) -> None:
        corpora = load_corpora(context.recipe)
        sentences = labelled_text(corpora.teachers[self.card.name])
        teacher = Teacher.load(context.run.model(self.teacher.model), corpora.labels, device=context.device)
        writer = KnowledgeWriter(context.run.knowledge(self.key), self.facts)
        while (start := writer.written) < len(sentences):
            part = sentences[start : start + SHARD_SENTENCES]

            def count(done: int, _: int, start: int = start) -> None:
                report(start + done, len(sentences), "sentences")

            found = teacher.knowledge(
                [s.words for s in part], k=self.facts.k, temperature=self.facts.temperature, progress=count
            )
            writer.write_shard([(s.id, token_fingerprint(s.words), item) for s, item in zip(part, found, strict=True)])
        writer.finish()


def labelled_text(corpus: TeacherCorpus) -> list[Sentence]:
    """The sentences a teacher is asked about: gold first, then untagged."""
    return corpus.gold + corpus.untagged


def extract_jobs(recipe: Recipe, corpora: Corpora, teachers: Iterable[TeachJob]) -> list[ExtractJob]:
    """One job a teacher."""
    jobs = []
    for teacher in teachers:
        sentences = labelled_text(corpora.teachers[teacher.card.name])
        facts = StoreFacts(
            teacher=teacher.key,
            corpus=corpus_fingerprint(sentences),
            labels=list(corpora.labels.tags),
            temperature=recipe.knowledge.temperature,
            # Pseudo-labels are the best path, so one path is always kept.
            k=max(recipe.knowledge.k, 1),
            dtype=recipe.knowledge.dtype,
            sentences=len(sentences),
        )
        jobs.append(ExtractJob(teacher.card, teacher, facts))
    return jobs
