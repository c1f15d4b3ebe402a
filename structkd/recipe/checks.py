"""What must hold between the sections of a recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from structkd.errors import DataError
from structkd.recipe.corpora import CorpusSpec, EntityLabels
from structkd.recipe.faults import Fault, Path, nearest
from structkd.recipe.labels import card_map
from structkd.recipe.models import RecurrentEncoderSpec, TrainingSpec
from structkd.recipe.objectives import LOCAL, parse_objective
from structkd.recipe.schema import Recipe, TeacherCard


def card_faults(card: TeacherCard, path: Path = ()) -> Iterator[Fault]:
    """Faults within a teacher card."""
    sections = ("corpus", "encoder", "training")
    if card.is_trained:
        for name in sections:
            if getattr(card, name) is None:
                yield Fault((*path, name), f"missing: {TeacherCard.model_fields[name].description}")
    elif card.model is not None and card.annotations is not None:
        yield Fault((*path, "annotations"), "got a model too, expected one of the two; write two cards")
    else:
        for name in sections[1:]:
            if getattr(card, name) is not None:
                what = "model" if card.model is not None else "annotations"
                yield Fault((*path, name), f"nothing is trained where the card names {what}; expected no {name}")
    if card.corpus is not None:
        needed = ("train", "test") if card.is_trained else ()
        yield from _corpus_faults(card.corpus, (*path, "corpus"), needed=needed)
    yield from _encoder_faults(card.encoder, (*path, "encoder"))
    if card.training is not None:
        yield from _training_faults(card.training, (*path, "training"))


def recipe_faults(recipe: Recipe) -> Iterator[Fault]:
    """Faults of a recipe as a whole, its cards included."""
    for index, card in enumerate(recipe.teachers):
        yield from card_faults(card, ("teachers", index))
        if card.task != recipe.task:
            message = f"teacher {card.name} does {card.task}, expected the recipe's task {recipe.task}"
            yield Fault(("teachers", index, "task"), message)
        yield from _map_faults(recipe, card, ("teachers", index))
    yield from _repeated([card.name for card in recipe.teachers], ("teachers",), "two teachers are called")
    yield from _language_faults(recipe)
    yield from _unlabeled_faults(recipe)
    if recipe.folds is not None and not any(card.is_trained for card in recipe.teachers):
        yield Fault(("folds",), "no teacher is trained here, expected null")
    yield from _encoder_faults(recipe.student.encoder, ("student", "encoder"))
    yield from _training_faults(recipe.student.training, ("student", "training"))
    yield from _start_faults(recipe)
    if recipe.student.transitions == "per_language" and recipe.student.head == "softmax":
        yield Fault(
            ("student", "transitions"), "got per_language, but a softmax head has no transitions; use head: crf"
        )
    yield from _label_faults(recipe)
    yield from _objective_faults(recipe)
    yield from _repeated(recipe.controls, ("controls",), "repeated:")
    yield from _repeated(recipe.seeds, ("seeds",), "repeated:")
    if recipe.student.training.epochs is None and recipe.baseline.epochs is None and "baseline" in recipe.controls:
        yield Fault(("baseline", "epochs"), "missing; the student has max_steps and no epochs that it could share")


def _language_faults(recipe: Recipe) -> Iterator[Fault]:
    taught = {card.language: card.name for card in recipe.teachers}
    for index, unseen in enumerate(recipe.unseen):
        path: Path = ("unseen", index)
        if unseen.language in taught:
            message = f"{unseen.language} is seen: teacher {taught[unseen.language]} is trained on it"
            yield Fault((*path, "language"), message)
        yield from _corpus_faults(unseen.corpus, (*path, "corpus"), needed=("test",))
    if isinstance(recipe.corpus.untagged, dict):
        for language in recipe.corpus.untagged:
            if language not in taught:
                message = f"no teacher for {language}, expected one of {', '.join(sorted(taught))}"
                yield Fault(("corpus", "untagged", language), message)


def _map_faults(recipe: Recipe, card: TeacherCard, path: Path) -> Iterator[Fault]:
    """Labels that do not map to the student's; those of a model are known when it is loaded."""
    if card.labels is not None and isinstance(card.labels, EntityLabels) != isinstance(recipe.labels, EntityLabels):
        yield Fault((*path, "labels"), f"do not fit task {recipe.task}")
    elif card.model is None or card.labels is not None:
        try:
            card_map(recipe, card)
        except DataError as error:
            yield Fault((*path, "label_map"), str(error).replace("\n", "\n  "))


def _unlabeled_faults(recipe: Recipe) -> Iterator[Fault]:
    names = [card.name for card in recipe.teachers]
    languages = {card.language for card in recipe.teachers}
    for language, text in recipe.unlabeled.items():
        path: Path = ("unlabeled", language)
        if text.teachers == "own" and language not in languages:
            message = (
                f"no teacher for {language}; expected who labels it: "
                f"{{path: {text.paths[0]}, teachers: all}}, or names out of {', '.join(names)}"
            )
            yield Fault(path, message)
        for name in text.teachers if isinstance(text.teachers, tuple) else ():
            if name not in names:
                yield Fault((*path, "teachers"), f"there is no teacher {name}{nearest(name, names)}")
        if text.format == "hub":
            yield Fault((*path, "format"), "expected a file or a part of the sample")


def _corpus_faults(corpus: CorpusSpec, path: Path, needed: Sequence[str]) -> Iterator[Fault]:
    for split in needed:
        if getattr(corpus, split) is None:
            yield Fault((*path, split), "missing; expected a path under corpus.root, or the name of a split")
    if corpus.format == "text":
        yield Fault((*path, "format"), "text has no tags; expected a labelled format")
    if corpus.format == "hub" and corpus.hub is None:
        yield Fault((*path, "hub"), "missing; format hub needs the id of a data set")
    if corpus.format != "hub":
        for key in ("hub", "config", "revision"):
            if getattr(corpus, key) is not None:
                yield Fault((*path, key), f"only with format: hub, got format: {corpus.format}")
    if corpus.format != "columns" and isinstance(corpus.tag_column, int):
        message = f"a column number goes with format: columns, got format: {corpus.format}"
        yield Fault((*path, "tag_column"), message)


def _encoder_faults(encoder: object, path: Path) -> Iterator[Fault]:
    if isinstance(encoder, RecurrentEncoderSpec) and (encoder.word_buckets > 0) != (encoder.word_dim > 0):
        message = f"got word_buckets {encoder.word_buckets} and word_dim {encoder.word_dim}, expected both or neither"
        yield Fault((*path, "word_dim"), message)


_MAY_DIFFER = {"layers", "dropout", "word_dropout", "ngram_dropout", "frozen", "pooling", "lstm_hidden"}


def _start_faults(recipe: Recipe) -> Iterator[Fault]:
    """A student's encoder can start as the first layers of one that reads the same features."""
    name, path = recipe.student.initialize_from, ("student", "initialize_from")
    if name is None:
        return
    cards = {card.name: card for card in recipe.teachers}
    if name not in cards:
        yield Fault(path, f"there is no teacher {name} in this recipe, expected one of {', '.join(cards)}")
        return
    if cards[name].annotations is not None:
        yield Fault(path, f"{name} is annotations, which have no encoder")
        return
    encoder = cards[name].encoder
    if encoder is None:
        return  # of a model from elsewhere, which is compared when it is loaded
    own, other = recipe.student.encoder.model_dump(), encoder.model_dump()
    differing = [key for key in own if key not in _MAY_DIFFER and own[key] != other.get(key)]
    if differing:
        told = ", ".join(f"{key} {own[key]!r}, not {other.get(key)!r}" for key in differing)
        yield Fault(path, f"the student's encoder has {told} as teacher {name}; expected the same")
    elif own["layers"] is not None and other["layers"] is not None and own["layers"] > other["layers"]:
        yield Fault(path, f"teacher {name} has {other['layers']} layers, the student wants the first {own['layers']}")


def _training_faults(training: TrainingSpec, path: Path) -> Iterator[Fault]:
    if (training.epochs is None) == (training.max_steps is None):
        got = "neither" if training.epochs is None else "both"
        yield Fault(path, f"got {got} of epochs and max_steps, expected one")
    if training.batch_size is None and training.batch_tokens is None:
        yield Fault((*path, "batch_size"), "missing; expected sentences in a micro-batch, or batch_tokens")


def _label_faults(recipe: Recipe) -> Iterator[Fault]:
    spans = isinstance(recipe.labels, EntityLabels)
    if spans != (recipe.task == "ner"):
        expected = "{entities: [...], scheme: IOB2}" if recipe.task == "ner" else "upos or {tags: [...]}"
        yield Fault(("labels",), f"do not fit task {recipe.task}, expected {expected}")
    if isinstance(recipe.labels, EntityLabels):
        yield from _repeated(recipe.labels.entities, ("labels", "entities"), "repeated:")
    elif not isinstance(recipe.labels, str):
        yield from _repeated(recipe.labels.tags, ("labels", "tags"), "repeated:")


def _objective_faults(recipe: Recipe) -> Iterator[Fault]:
    yield from _repeated(recipe.objective, ("objective",), "repeated:")
    knowledge = recipe.knowledge
    for objective in recipe.objective:
        names = [term.name for term in parse_objective(objective)]
        if knowledge.local_temperature != 1.0 and not set(names) <= set(LOCAL):
            # Softened posteriors and unsoftened transition counts are of no one distribution, and then the
            # structural loss has no lower bound.
            message = (
                f"{knowledge.local_temperature} is for the objectives {', '.join(LOCAL)} only, got {objective}; "
                "use temperature"
            )
            yield Fault(("knowledge", "local_temperature"), message)
        if "topk" in objective and knowledge.k == 0:
            yield Fault(("knowledge", "k"), f"got 0, expected at least 1 for objective {objective}")
    if knowledge.local_temperature != 1.0 and knowledge.temperature != 1.0:
        message = "got a global and a local temperature, expected one of them to be 1"
        yield Fault(("knowledge", "local_temperature"), message)


def _repeated(values: Sequence[object], path: Path, words: str) -> Iterator[Fault]:
    for value in sorted({str(value) for value in values if values.count(value) > 1}):
        yield Fault(path, f"{words} {value}")
