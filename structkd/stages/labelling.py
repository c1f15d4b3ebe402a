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
    """Whoever stands behind a teacher card.

    Attributes:
        trained: the jobs that train its models: first on all gold sentences, then without each fold of them; none for
            a model from elsewhere and for annotations.
        key: names everything its answers are made from.
    """

    card: TeacherCard
    trained: tuple[TeachJob, ...]
    key: str

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


def make_labellers(recipe: Recipe, corpora: Corpora, teachers: Iterable[TeachJob]) -> dict[str, Labeller]:
    """Whoever stands behind each card, by the name of the card."""
    jobs = list(teachers)
    found = {}
    for card in recipe.teachers:
        trained = tuple(job for job in jobs if job.card == card)
        made_from: list[object] = [job.key for job in trained]
        if card.model is not None:
            made_from = [_content(Path(card.model).expanduser())]
        elif card.annotations is not None:
            made_from = [find_annotations(card, corpus_root(recipe))]
        label_map = corpora.maps[card.name]
        names = {"source": label_map.source.to_dict(), "target": label_map.target.to_dict(), **label_map.names}
        found[card.name] = Labeller(card, trained, fingerprint(*made_from, names))
    return found


def ensemble(
    labellers: Sequence[Labeller], sentences: Sequence[Sentence], context: Context, corpora: Corpora
) -> TeacherEnsemble:
    """The teachers that label these sentences, whatever their languages."""
    members = [Member(labeller.source(context, corpora), labeller.card.weight) for labeller in labellers]
    languages = {sentence.language for sentence in sentences}
    return TeacherEnsemble(dict.fromkeys(languages, members), combine=context.recipe.ensemble.combine)


@lru_cache(maxsize=64)
def _content(directory: Path) -> str:
    """Names the files of a model's folder by what they hold."""
    return fingerprint({path.name: path for path in sorted(directory.iterdir()) if path.is_file()})
