"""Stage 4: score every model on every test set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from structkd.errors import IntegrityError
from structkd.evaluation import ModelCounts, ScoreRow, count, load_model_counts, save_model_counts, score_counts
from structkd.recipe import Recipe
from structkd.stages.corpora import Corpora, TestSet, corpus_fingerprint, load_corpora
from structkd.stages.distill import DistillJob
from structkd.stages.jobs import Context, Report
from structkd.stages.teach import TeachJob
from structkd.storage import fingerprint, write_json
from structkd.tagger import load, predict


@dataclass(frozen=True)
class EvaluateJob:
    """Count what one model gets right on its test sets."""

    model: str
    role: str
    method: str
    seed: int | None
    languages: tuple[str, ...]
    key: str

    @property
    def title(self) -> str:
        return f"evaluate {self.model.removeprefix('models/')}"

    def is_done(self, context: Context) -> bool:
        try:
            return load_model_counts(context.run.counts(self.model)).key == self.key
        except IntegrityError:
            return False

    def run(self, context: Context, report: Report) -> None:
        corpora = load_corpora(context.recipe)
        tagger = load(context.run.model(self.model))
        tagger.to(context.device)
        tests = [test for test in corpora.tests if test.language in self.languages]
        counts = {}
        for done, test in enumerate(tests):
            report(done, len(tests), test.language)
            words = [sentence.words for sentence in test.sentences]
            counts[test.language] = count(
                [sentence.tags or () for sentence in test.sentences],
                predict(tagger, words, languages=[test.language] * len(words)),
                task=context.recipe.task,
                scheme=corpora.labels.scheme,
                words=words,
                training_words=_training_words(corpora, test),
            )
        titles = {test.language: test.title for test in tests}
        record = ModelCounts(self.model, self.role, self.method, self.seed, counts, titles, self.key)
        save_model_counts(context.run.counts(self.model), record)


def _training_words(corpora: Corpora, test: TestSet) -> set[str] | None:
    """Forms in the gold sentences of the language; None for a language that no teacher saw."""
    gold = [s for corpus in corpora.teachers.values() if corpus.language == test.language for s in corpus.gold]
    return {word for sentence in gold for word in sentence.words} or None


def evaluate_jobs(
    recipe: Recipe, corpora: Corpora, teachers: Iterable[TeachJob], students: Iterable[DistillJob]
) -> list[EvaluateJob]:
    """One job a model: a teacher is tested on its language and on the unseen ones, all others on everything."""
    unseen = tuple(test.language for test in corpora.tests if not test.seen)
    everything = tuple(test.language for test in corpora.tests)
    models: list[tuple[TeachJob | DistillJob, str, str, int | None, tuple[str, ...]]] = [
        (job, job.role, job.method, job.seed, everything) for job in students
    ]
    models += [(job, "teacher", job.card.name, job.seed, (job.card.language, *unseen)) for job in teachers]
    data = {test.language: corpus_fingerprint(test.sentences) for test in corpora.tests}
    return [
        EvaluateJob(
            job.model,
            role,
            method,
            seed,
            languages,
            fingerprint("evaluation", job.key, {language: data.get(language) for language in languages}, recipe.task),
        )
        for job, role, method, seed, languages in models
    ]


def write_scores(context: Context, corpora: Corpora, jobs: Iterable[EvaluateJob]) -> list[ScoreRow]:
    """Write `scores.json`: one row per number of every evaluated model."""
    seen = {test.language: test.seen for test in corpora.tests}
    rows: list[ScoreRow] = []
    for job in jobs:
        record = load_model_counts(context.run.counts(job.model))
        for language, counts in record.counts.items():
            rows += score_counts(
                counts,
                model=job.model,
                role=job.role,
                method=job.method,
                seed=job.seed,
                language=language,
                corpus=record.corpora[language],
                split="test",
                seen=seen[language],
            )
    write_json(context.run.scores, [row.to_dict() for row in rows])
    return rows
