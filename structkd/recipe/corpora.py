"""Sections that name corpora and labels."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from structkd.recipe.spec import Count, Language, Scheme, Spec

CorpusFormat = Literal["auto", "conllu", "columns", "jsonl", "text", "sample", "hub"]
Column = Annotated[
    Annotated[int, Field(ge=0), Tag("number")] | Annotated[str, Field(min_length=1), Tag("name")],
    Discriminator(lambda value: "number" if isinstance(value, int) else "name"),
]


class CorpusSpec(Spec):
    """A labelled corpus: where its splits are and how they are read."""

    title: str | None = Field(None, description="name in reports")
    format: CorpusFormat = Field("auto", description="auto: by file name")
    tag_column: Column | None = Field(None, description="a name, or for columns a number from 0; null: the usual one")
    word_column: Column | None = Field(None, description="a name, or for columns a number from 0; null: the usual one")
    scheme: Scheme | None = Field(None, description="span scheme of the file; null: that of the labels")
    train: str | None = Field(None, description="path under corpus.root; for hub and sample the name of the split")
    dev: str | None = Field(None, description="likewise")
    test: str | None = Field(None, description="likewise")
    hub: str | None = Field(None, description="id of a data set on the hub (format hub)")
    config: str | None = Field(None, description="its configuration (format hub)")
    revision: str | None = Field(None, description="its commit (format hub); pin it")


class CorporaSpec(Spec):
    """Which sentences an experiment uses."""

    root: str | None = Field(None, description="folder of the corpora; null: the environment variable STRUCTKD_DATA")
    gold: Count | None = Field(None, description="evenly spaced tagged sentences for each language; null: all")
    untagged: Annotated[
        Annotated[Literal["rest", "none"], Tag("word")] | Annotated[dict[Language, str], Tag("paths")],
        Discriminator(lambda value: "paths" if isinstance(value, dict) else "word"),
    ] = Field(
        "rest",
        description="text without tags for the student; rest: the other training sentences; none; or a path (for "
        "sample corpora a part) for each language",
    )
    untagged_limit: Count | None = Field(
        None, description="evenly spaced untagged sentences for each language; null: all"
    )


class EntityLabels(Spec):
    """Labels of entities: O, then B-X, I-X for each type, in a span scheme."""

    entities: tuple[str, ...] = Field(min_length=1, description="entity types, in the order of their ids")
    scheme: Scheme = Field("IOB2", description="span scheme of teachers and student")


class TagLabels(Spec):
    """Labels that stand alone, spelt out."""

    tags: tuple[str, ...] = Field(min_length=1, description="tags, in the order of their ids")


def _kind_of_labels(value: Any) -> str:
    if isinstance(value, str):
        return "word"
    keys = set(value) if isinstance(value, dict) else set(type(value).model_fields) if isinstance(value, Spec) else ()
    return "TagLabels" if "tags" in keys else "EntityLabels"


LabelsSpec = Annotated[
    Annotated[Literal["upos"], Tag("word")]
    | Annotated[EntityLabels, Tag("EntityLabels")]
    | Annotated[TagLabels, Tag("TagLabels")],
    Discriminator(_kind_of_labels),
]


class UnseenSpec(Spec):
    """A test set in a language that no teacher saw."""

    language: Language = Field(description="BCP-47 code")
    corpus: CorpusSpec = Field(description="its test split is scored, nothing is trained on it")


_Names = Annotated[tuple[str, ...], Field(min_length=1), Tag("names")]
_WORD_OR_NAMES = Discriminator(lambda value: "word" if isinstance(value, str) else "names")


class UnlabeledSpec(Spec):
    """Text without tags, and who labels it."""

    path: Annotated[Annotated[str, Field(min_length=1), Tag("word")] | _Names, _WORD_OR_NAMES] = Field(
        description="path under corpus.root, or several; for format sample the name of the part"
    )
    format: CorpusFormat = Field("auto", description="auto: by file name; tags in the file are not read")
    word_column: Column | None = Field(None, description="a name, or for columns a number from 0; null: the usual one")
    limit: Count | None = Field(None, description="evenly spaced sentences of it; null: all")
    teachers: Annotated[Annotated[Literal["own", "all"], Tag("word")] | _Names, _WORD_OR_NAMES] = Field(
        "own", description="who labels it: own: the teachers of its language; all: every teacher; or names of teachers"
    )

    @property
    def paths(self) -> tuple[str, ...]:
        """One path or more."""
        return (self.path,) if isinstance(self.path, str) else self.path


def _path_alone(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {language: _unlabeled(text) for language, text in value.items()}


def _unlabeled(text: Any) -> Any:
    if isinstance(text, str):
        return {"path": text}
    if isinstance(text, dict):
        # What a validator has touched is no longer read as JSON, where a list stands for a tuple.
        return {key: tuple(value) if isinstance(value, list) else value for key, value in text.items()}
    return text


UnlabeledTexts = Annotated[
    dict[Language, UnlabeledSpec],
    BeforeValidator(_path_alone, json_schema_input_type=dict[Language, str | UnlabeledSpec]),
]
