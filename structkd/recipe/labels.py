"""The labels of students and teachers, as recipes and cards name them."""

from __future__ import annotations

from structkd.labels import UPOS, LabelMap, LabelSet
from structkd.recipe.corpora import EntityLabels, LabelsSpec, TagLabels
from structkd.recipe.schema import Recipe, TeacherCard


def label_set(labels: LabelsSpec) -> LabelSet:
    """The label set that a `labels` section names."""
    if isinstance(labels, EntityLabels):
        return LabelSet.for_entities(labels.entities, labels.scheme)
    if isinstance(labels, TagLabels):
        return LabelSet(labels.tags)
    return LabelSet(UPOS)


def card_labels(recipe: Recipe, card: TeacherCard) -> LabelSet:
    """The labels of a teacher: its card's, or the recipe's and those that its label map names."""
    if card.labels is not None:
        return label_set(card.labels)
    if isinstance(recipe.labels, EntityLabels):
        types = dict.fromkeys((*recipe.labels.entities, *card.label_map))
        return LabelSet.for_entities(tuple(types), recipe.labels.scheme)
    return LabelSet(tuple(dict.fromkeys((*label_set(recipe.labels).tags, *card.label_map))))


def card_map(recipe: Recipe, card: TeacherCard, own: LabelSet | None = None) -> LabelMap:
    """How the labels of a teacher become the student's.

    Args:
        own: labels of the teacher, where its model has told them.

    Raises:
        DataError: its card does not cover every label.
    """
    return LabelMap.between(
        own or card_labels(recipe, card),
        label_set(recipe.labels),
        card.label_map,
        lacks=card.lacks,
        who=f"teacher {card.name}",
    )
