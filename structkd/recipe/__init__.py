"""Recipes and teacher cards: schema, strict loading, catalogue."""

from structkd.recipe.catalogue import Entry, list_recipes, list_teachers
from structkd.recipe.corpora import (
    CorporaSpec,
    CorpusSpec,
    EntityLabels,
    LabelsSpec,
    TagLabels,
    UnlabeledSpec,
    UnseenSpec,
)
from structkd.recipe.labels import card_labels, card_map, label_set
from structkd.recipe.models import EncoderSpec, PretrainedEncoderSpec, RecurrentEncoderSpec, TrainingSpec
from structkd.recipe.objectives import OBJECTIVE_NAMES, ObjectiveName, WeightedName, parse_objective
from structkd.recipe.resolution import (
    corpus_root,
    dump_recipe,
    dump_teacher,
    load_recipe,
    load_teacher,
    parse_recipe,
)
from structkd.recipe.schema import (
    AnnealingSpec,
    BaselineSpec,
    EnsembleSpec,
    KnowledgeSpec,
    ProvenanceSpec,
    Recipe,
    StudentSpec,
    TeacherCard,
)
from structkd.recipe.variations import Variant, Variation, first_seeds, load_variants, parse_variation

__all__ = [
    "OBJECTIVE_NAMES",
    "AnnealingSpec",
    "BaselineSpec",
    "CorporaSpec",
    "CorpusSpec",
    "EncoderSpec",
    "EnsembleSpec",
    "EntityLabels",
    "Entry",
    "KnowledgeSpec",
    "LabelsSpec",
    "ObjectiveName",
    "PretrainedEncoderSpec",
    "ProvenanceSpec",
    "Recipe",
    "RecurrentEncoderSpec",
    "StudentSpec",
    "TagLabels",
    "TeacherCard",
    "TrainingSpec",
    "UnlabeledSpec",
    "UnseenSpec",
    "Variant",
    "Variation",
    "WeightedName",
    "card_labels",
    "card_map",
    "corpus_root",
    "dump_recipe",
    "dump_teacher",
    "first_seeds",
    "label_set",
    "list_recipes",
    "list_teachers",
    "load_recipe",
    "load_teacher",
    "load_variants",
    "parse_objective",
    "parse_recipe",
    "parse_variation",
]
