"""Who labels text: the models or annotations behind each teacher card, and whole ensembles of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from structkd.corpus import Sentence
from structkd.recipe import Recipe, TeacherCard, corpus_root
from structkd.stages.corpora import Corpora, find_annotations
from structkd.stages.jobs import Context
from structkd.stages.teach import TeachJob, folds_of
from structkd.storage import fingerprint
from structkd.tagger import load_any
from structkd.teacher import CrossFittedTeacher, Member, Source, Teacher, TeacherEnsemble


@dataclass(frozen=True)
class Labeller:
    """Whoever stands behind a teacher card; one of several, where a card is trained with several seeds.

    Attributes:
        trained: the jobs that train its models: first on all gold sentences, then without each fold of them; none for
            a model from elsewhere and for annotations.
        key: names everything its answers are made from.
        weight: in an ensemble; those of one card share the card's.
    """

    card: TeacherCard
    trained: tuple[TeachJob, ...]
    key: str
    weight: float

    @property
    def student(self) -> int | None:
        """Seed of the students that it labels text for; None: it labels for all."""
        return self.trained[0].student if self.trained else None

    @property
    def seed(self) -> int | None:
        """Of its training; None: it is the only one of its card."""
        return self.trained[0].seed if self.trained else None

    @property
    def model(self) -> str:
        """What stands for it in the run directory, trained there or not."""
        return self.trained[0].model if self.trained else f"teachers/{self.card.name}"

    def teacher(self, context: Context, corpora: Corpora) -> Teacher:
        """The model that was trained on everything, or comes from elsewhere."""
        if self.card.model is not None:
            return self._load(Path(self.card.model).expanduser(), context, corpora)
        return self._load(context.run.model(self.trained[0].model), context, corpora)

    def source(self, context: Context, corpora: Corpora) -> Source:
        """Whoever answers for the text that the student learns from."""
        if self.card.annotations is not None:
            return corpora.annotations[self.card.name]
        whole, folds = self.teacher(context, corpora), self.trained[1:]
        if not folds:
            return whole
        asked = [self._load(context.run.model(job.model), context, corpora) for job in folds]
        return CrossFittedTeacher(whole, asked, folds_of(corpora.teachers[self.card.name], len(folds)))

    def _load(self, directory: Path, context: Context, corpora: Corpora) -> Teacher:
        label_map = corpora.maps[self.card.name]
        tagger = load_any(directory, scheme=label_map.source.scheme, device=context.device)
        return Teacher(tagger, label_map, name=f"teacher {self.card.name}")


def make_labellers(
    recipe: Recipe, corpora: Corpora, teachers: Iterable[TeachJob], student: int | None = None
) -> dict[str, tuple[Labeller, ...]]:
    """Who stands behind each card, by the name of the card.

    Args:
        student: one of `taught_seeds`.
    """
    found: dict[str, tuple[Labeller, ...]] = {}
    for card in recipe.teachers:
        jobs = [job for job in teachers if job.student == student and job.card == card]
        # A model from elsewhere and annotations are the only ones of their card, and train nothing.
        seeds = dict.fromkeys(job.seed for job in jobs) if card.is_trained else (None,)
        members = [tuple(job for job in jobs if job.seed == seed) for seed in seeds]
        label_map = corpora.maps[card.name]
        names = {"source": label_map.source.to_dict(), "target": label_map.target.to_dict(), **label_map.names}
        found[card.name] = tuple(
            Labeller(card, own, fingerprint(*_made_from(recipe, card, own), names), card.weight / len(members))
            for own in members
        )
    return found


def _made_from(recipe: Recipe, card: TeacherCard, trained: Iterable[TeachJob]) -> list[object]:
    """What names the models or annotations behind a card."""
    if card.model is not None:
        return [_content(Path(card.model).expanduser())]
    if card.annotations is not None:
        return [find_annotations(card, corpus_root(recipe))]
    return [job.key for job in trained]


def ensemble(
    labellers: Sequence[Labeller], sentences: Sequence[Sentence], context: Context, corpora: Corpora
) -> TeacherEnsemble:
    """The teachers that label these sentences, whatever their languages."""
    members = [Member(labeller.source(context, corpora), labeller.weight) for labeller in labellers]
    languages = {sentence.language for sentence in sentences}
    return TeacherEnsemble(dict.fromkeys(languages, members), combine=context.recipe.ensemble.combine)


@lru_cache(maxsize=64)
def _content(directory: Path) -> str:
    """Names the files of a model's folder by what they hold."""
    return fingerprint({path.name: path for path in sorted(directory.iterdir()) if path.is_file()})
