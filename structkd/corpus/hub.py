"""Data sets of the Hugging Face hub, or of a local folder that `datasets` can load."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from structkd.corpus.files import Faults, RawSentence
from structkd.errors import DataError

_WORDS = ("tokens", "words", "form")
_IDS = ("sent_id", "id", "idx")


def read_hub(
    hub: str,
    split: str,
    *,
    config: str | None = None,
    revision: str | None = None,
    tag_column: str | int | None = None,
    word_column: str | int | None = None,
) -> list[RawSentence]:
    """Sentences of a data set whose rows hold a list of words and a list of tags.

    Args:
        hub: id such as `unimelb-nlp/wikiann`, or a folder.
        split: `train`, `validation`, `test`, or a slice such as `train[:1000]`.
        config: name of the configuration, often the language.
        revision: commit to pin; without it the data may change under an experiment.
        tag_column: column of the tags; default `tags`; "none" reads no tags. Class ids become their names.
        word_column: column of the words; default `tokens`, `words` or `form`.

    Raises:
        DataError: the data set cannot be loaded, lacks a column, or holds rows that are no tagged sentences.
    """
    source = f"{hub}[{config or 'default'}, {split}]"
    rows = _load(source, hub, split, config, revision)
    columns = list(rows.column_names)
    word_key = word_column or next((name for name in _WORDS if name in columns), _WORDS[0])
    tag_key = None if tag_column == "none" else (tag_column or "tags")
    for name, key in (("word_column", word_key), ("tag_column", tag_key)):
        if key is not None and key not in columns:
            raise DataError(f"{source}: {name} {key!r} is not there: the columns are {', '.join(columns)}")
    names = _class_names(rows.features[tag_key]) if tag_key is not None else None
    id_key = next((name for name in _IDS if name in columns), None)
    wanted = [key for key in (word_key, tag_key, id_key) if key is not None]
    faults = Faults(source)
    sentences = []
    for number, row in enumerate(rows.select_columns(wanted), start=1):
        words = list(row[word_key])
        tags = None if tag_key is None else [names[i] if names and isinstance(i, int) else i for i in row[tag_key]]
        if not words or not all(isinstance(word, str) and word.strip() for word in words):
            faults.add(number, f"{word_key!r} is not a list of words: {words!r}")
        elif tags is not None and len(tags) != len(words):
            faults.add(number, f"{len(words)} words but {len(tags)} tags")
        elif tags is not None and not all(isinstance(tag, str) and tag not in ("", "_") for tag in tags):
            faults.add(number, f"{tag_key!r} holds values that are no tags: {tags!r}")
        sentences.append(RawSentence(words, tags, number, str(row[id_key]) if id_key else None))
    faults.raise_if_any()
    if not sentences:
        raise DataError(f"{source}: the data set is empty")
    return sentences


def _load(source: str, hub: str, split: str, config: str | None, revision: str | None) -> Any:
    if hub.startswith((".", "/", "~")) and not Path(hub).expanduser().is_dir():
        raise DataError(f"{source}: there is no folder {hub}")
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{source}: data sets of the hub need the package `datasets`; install it") from error
    load = partial(datasets.load_dataset, hub, split=split, revision=revision)
    try:
        try:
            return load(config)
        except ValueError as error:
            # Some data sets keep their parts in folders instead of naming configurations.
            if config is None or "BuilderConfig" not in str(error):
                raise
            return load(data_dir=config)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        pinned = revision or "newest"
        raise DataError(f"{source}: cannot load revision {pinned}: {type(error).__name__}: {error}") from error


def _class_names(feature: Any) -> list[str] | None:
    """Names of the class ids in a list column, if it holds class ids."""
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
    return getattr(inner, "names", None)
