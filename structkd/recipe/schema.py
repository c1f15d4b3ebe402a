"""The schema of recipes and teacher cards; rooms below take its values as plain arguments, never a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from structkd.recipe.corpora import CorporaSpec, CorpusSpec, LabelsSpec, UnlabeledTexts, UnseenSpec
from structkd.recipe.models import EncoderSpec, TrainingSpec
from structkd.recipe.objectives import DescribeObjective, spell
from structkd.recipe.spec import Count, Fraction, Language, Name, Positive, Size, Spec, Task

ObjectiveText = Annotated[str, AfterValidator(spell), DescribeObjective()]
ControlName = Literal["baseline", "pseudo-labels"]


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _constant(value: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"start": value, "end": value} if number else value


class _OrNames:
    """Files may name cards; resolution writes them in before validation, so only the JSON schema knows names."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        described["items"] = {"anyOf": [{"type": "string"}, described["items"]]}
        return described


class ProvenanceSpec(Spec):
    """Where a teacher's corpus comes from and what may be done with it."""

    source: str = Field(description="who released it, and where")
    license: str = Field(description="as the source states it")
    note: str | None = Field(None, description="what a user of the numbers should know")


class TeacherCard(Spec):
    """One teacher: a language and its corpus; and an encoder and how it is trained, or a model, or annotations."""

    name: Name = Field(description="name of the card; left out in a file, it is taken from the path")
    language: Language = Field(description="BCP-47 code")
    task: Task = Field(description="pos: one tag a word; ner: spans")
    corpus: CorpusSpec | None = Field(None, description="what the teacher is trained and tested on")
    encoder: EncoderSpec | None = Field(None, description="type recurrent or pretrained")
    head: Literal["crf", "softmax"] = Field("crf", description="softmax: a chain with all transitions zero")
    training: TrainingSpec | None = Field(None, description="how it is trained")
    model: str | None = Field(
        None,
        min_length=1,
        description="folder of a tagger or of any Hugging Face token classifier, in place of training",
    )
    annotations: str | None = Field(
        None,
        min_length=1,
        description="JSONL file of tags, n-best lists or posteriors of another maker, in place of a model; path under "
        "corpus.root",
    )
    labels: LabelsSpec | None = Field(
        None, description="the teacher's own labels; null: those of the recipe and those that label_map names"
    )
    label_map: dict[str, str | None] = Field(
        {},
        description="entity type or tag of the teacher -> the student's, or null: the teacher is asked given that it "
        "does not occur; equal names need not be said",
    )
    lacks: tuple[str, ...] = Field((), description="entity types or tags of the student that the teacher never gives")
    weight: Positive = Field(1.0, description="in a mixture or product with other teachers of a language")
    provenance: ProvenanceSpec | None = Field(None, description="source and licence of the corpus")

    @property
    def is_trained(self) -> bool:
        """Whether a tagger is trained for it."""
        return self.model is None and self.annotations is None


class StudentSpec(Spec):
    """The multilingual student; the controls share its encoder and optimiser."""

    encoder: EncoderSpec = Field(description="type recurrent or pretrained")
    head: Literal["crf", "softmax"] = Field("crf", description="softmax: a chain with all transitions zero")
    transitions: Literal["shared", "per_language"] = Field(
        "shared", description="per_language: each teacher's language has its own, all others have their mean"
    )
    initialize_from: Name | None = Field(
        None, description="a teacher card: the encoder starts as its first layers, as many as the student has"
    )
    training: TrainingSpec = Field(description="epochs are counted over gold and untagged sentences together")


class KnowledgeSpec(Spec):
    """What is asked of the teachers."""

    k: Size = Field(5, description="length of the k-best lists")
    temperature: Positive = Field(1.0, description="global: every potential is divided by it, in teachers and student")
    local_temperature: Positive = Field(
        1.0, description="softens finished posteriors; only for token, emission, posterior"
    )
    dtype: Literal["float16", "float32"] = Field("float16", description="of stored log-marginals")


class EnsembleSpec(Spec):
    """What becomes of several teachers that label the same text."""

    combine: Literal["mixture", "product"] = Field(
        "mixture", description="mixture: their expectations are averaged; product: their potentials"
    )
    size: Count = Field(1, description="teachers that are trained for each card, with seeds of their own")


class AnnealingSpec(Spec):
    """Weight of knowledge on gold sentences (the rest is gold); on untagged sentences it is 1. A number: constant."""

    start: Fraction = Field(1.0, description="at the first step")
    end: Fraction = Field(0.0, description="when the fall is over")
    fraction: Fraction = Field(1.0, description="share of training in which it falls, linearly")
    per: Literal["step", "epoch"] = Field("step", description="whether it changes at every step or every epoch")


class BaselineSpec(Spec):
    """The student trained on gold sentences only; a step-matched one comes with it."""

    epochs: Count | None = Field(None, description="its own best length; null: the student's epochs")


class Recipe(Spec):
    """One experiment: teachers, a student, what it learns from them, and what it is compared with."""

    name: Name = Field(description="name of the recipe and of its run directory")
    description: str = Field(min_length=1, description="one line")
    task: Task = Field(description="pos: one tag a word; ner: spans")
    labels: LabelsSpec = Field(description="upos, or {entities: [...], scheme: IOB2}, or {tags: [...]}")
    corpus: CorporaSpec = Field(CorporaSpec(), description="which sentences are used")
    teachers: Annotated[tuple[TeacherCard, ...], _OrNames()] = Field(
        min_length=1, description="names or paths of teacher cards, or cards written out"
    )
    ensemble: EnsembleSpec = Field(EnsembleSpec(), description="how teachers of one language are combined")
    folds: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="train as many more teachers for each card, each without one fold of the gold sentences, and let "
        "each gold sentence be labelled by the one that did not see it; null: by the one that did",
    )
    unlabeled: UnlabeledTexts = Field(
        {}, description="more text without tags by language: a path, or {path: ..., teachers: all}"
    )
    unseen: tuple[UnseenSpec, ...] = Field((), description="test sets in languages that no teacher saw")
    student: StudentSpec = Field(description="the student")
    objective: Annotated[
        tuple[ObjectiveText, ...],
        BeforeValidator(_listed, json_schema_input_type=ObjectiveText | list[ObjectiveText]),
    ] = Field(
        min_length=1,
        description="one objective, or a list of them to compare; each a name or 0.5*posterior + 0.5*topk_weighted",
    )
    knowledge: KnowledgeSpec = Field(KnowledgeSpec(), description="what is asked of the teachers")
    annealing: Annotated[AnnealingSpec, BeforeValidator(_constant, json_schema_input_type=AnnealingSpec | float)] = (
        Field(AnnealingSpec(), description="from knowledge to gold; a number keeps one weight throughout")
    )
    controls: tuple[ControlName, ...] = Field(
        ("baseline", "pseudo-labels"), description="what the student is compared with"
    )
    baseline: BaselineSpec = Field(BaselineSpec(), description="the gold-only control")
    seeds: tuple[Size, ...] = Field((1,), min_length=1, description="one student and one of each control for each")
    teacher_seeds: Literal["same", "varied"] = Field(
        "same", description="same: all students learn from one teacher a card; varied: each seed trains teachers too"
    )
