"""Stage 4: score every model on every test set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from structkd.corpus import Sentence
from structkd.errors import IntegrityError
from structkd.evaluation import ModelCounts, ScoreRow, count, load_model_counts, save_model_counts, score_counts
from structkd.knowledge import Question
from structkd.recipe import Recipe
from structkd.stages.corpora import Corpora, TestSet, corpus_fingerprint, load_corpora
from structkd.stages.distill import DistillJob
from structkd.stages.jobs import Context, Report
from structkd.stages.labelling import Labeller, ensemble
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
    labellers: tuple[Labeller, ...] = ()  # of a teacher or an ensemble; empty for what was trained in `model`

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
        predicted = self._predictor(context, corpora)
        tests = [test for test in corpora.tests if test.language in self.languages]
        counts = {}
        for done, test in enumerate(tests):
            report(done, len(tests), test.language)
            words = [sentence.words for sentence in test.sentences]
            counts[test.language] = count(
                [sentence.tags or () for sentence in test.sentences],
                predicted(test.sentences),
                task=context.recipe.task,
                scheme=corpora.labels.scheme,
                words=words,
                training_words=_training_words(corpora, test),
            )
        titles = {test.language: test.title for test in tests}
        record = ModelCounts(self.model, self.role, self.method, self.seed, counts, titles, self.key)
        save_model_counts(context.run.counts(self.model), record)

    def _predictor(self, context: Context, corpora: Corpora) -> Callable[[Sequence[Sentence]], list[list[str]]]:
        """What gives the best tags of each sentence."""
        if len(self.labellers) > 1:
            return partial(_predict_together, self.labellers, context, corpora)
        if self.labellers:
            teacher = self.labellers[0].teacher(context, corpora)
            return lambda found: teacher.predict([s.words for s in found], languages=[s.language for s in found])
        tagger = load(context.run.model(self.model)).to(context.device)
        return lambda found: predict(tagger, [s.words for s in found], languages=[s.language for s in found])


def _predict_together(
    labellers: Sequence[Labeller], context: Context, corpora: Corpora, sentences: Sequence[Sentence]
) -> list[list[str]]:
    """The heads of an ensemble's k-best lists."""
    teachers = ensemble(labellers, sentences, context, corpora)
    found = teachers.knowledge(sentences, Question(context.recipe.knowledge.k or 1))
    return [corpora.labels.decode(item.paths[0].tolist()) for item in found]


def _training_words(corpora: Corpora, test: TestSet) -> set[str] | None:
    """Forms in the gold sentences of the language; None for a language that no teacher saw."""
    gold = [s for text in corpora.texts.values() if text.language == test.language for s in text.gold]
    return {word for sentence in gold for word in sentence.words} or None


def evaluate_jobs(
    recipe: Recipe,
    corpora: Corpora,
    labellers: Iterable[Mapping[str, Sequence[Labeller]]],
    students: Iterable[DistillJob],
) -> list[EvaluateJob]:
    """One job a model: teachers and ensembles are tested on their language and the unseen ones, students on all.

    Args:
        labellers: those of each of `taught_seeds`.
    """
    unseen = tuple(test.language for test in corpora.tests if not test.seen)
    everything = tuple(test.language for test in corpora.tests)
    data = {test.language: corpus_fingerprint(test.sentences) for test in corpora.tests}

    def job(
        model: str,
        role: str,
        method: str,
        seed: int | None,
        languages: tuple[str, ...],
        made_from: list[str],
        team: tuple[Labeller, ...] = (),
    ) -> EvaluateJob:
        tested = {language: data.get(language) for language in languages}
        key = fingerprint("evaluation", made_from, tested, recipe.task)
        return EvaluateJob(model, role, method, seed, languages, key, team)

    jobs = [job(s.model, s.role, s.method, s.seed, everything, [s.key]) for s in students]
    for group in labellers:
        asked = [one for of_card in group.values() for one in of_card if one.card.annotations is None]
        for one in asked:
            languages = (one.card.language, *unseen)
            jobs.append(job(one.model, "teacher", one.card.name, one.seed, languages, [one.key], (one,)))
        for name, text in corpora.texts.items():
            team = tuple(labeller for labeller in asked if labeller.card.name in text.teachers)
            if len(team) > 1 and text.language in data:
                combine = recipe.ensemble.combine
                made_from = [combine, *(f"{member.key} {member.weight}" for member in team)]
                seed = next((member.student for member in team if member.student is not None), None)
                model = f"ensembles/{name}" + ("" if seed is None else f"/seed-{seed}")
                jobs.append(job(model, "ensemble", combine, seed, (text.language,), made_from, team))
    return list({found.model: found for found in jobs}.values())


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
