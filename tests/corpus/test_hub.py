from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from structkd.corpus import Sentence, read
from structkd.errors import DataError

datasets = pytest.importorskip("datasets")


@pytest.fixture
def ner() -> Any:
    names = ["O", "B-PER", "I-PER"]
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "tokens": datasets.Sequence(datasets.Value("string")),
            "ner_tags": datasets.Sequence(datasets.ClassLabel(names=names)),
            "tags": datasets.Sequence(datasets.Value("string")),
            "numbers": datasets.Sequence(datasets.Value("int64")),
        }
    )
    rows = {
        "id": ["x", "x"],
        "tokens": [["Ada", "Lovelace"], ["a\u00a0b"]],
        "ner_tags": [[1, 2], [0]],
        "tags": [["PROPN", "PROPN"], ["X"]],
        "numbers": [[1, 2], [3]],
    }
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture
def loaded(ner: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    calls: list[tuple[Any, ...]] = []

    def load_dataset(path: str, name: str | None, *, split: str, revision: str | None) -> Any:
        calls.append((path, name, split, revision))
        return ner

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_class_ids_become_names_and_revision_and_config_are_passed_on(loaded: list[tuple[Any, ...]]) -> None:
    found = read("train", language="en", hub="a/b", config="en", revision="abc", tag_column="ner_tags", scheme="IOB2")
    assert found == [
        Sentence(("Ada", "Lovelace"), ("B-PER", "I-PER"), "en", "x"),
        Sentence(("a\u00a0b",), ("O",), "en", "x~2"),
    ]
    assert loaded == [("a/b", "en", "train", "abc")]


def test_the_default_tag_column_is_tags_and_none_reads_no_tags(loaded: list[tuple[Any, ...]]) -> None:
    assert read("train", language="en", hub="a/b")[1].tags == ("X",)
    assert read("train", language="en", hub="a/b", tag_column="none")[0].tags is None


def test_a_missing_column_is_named_with_those_there(loaded: list[tuple[Any, ...]]) -> None:
    with pytest.raises(DataError, match=r"a/b\[default, train\]: tag_column 'upos' is not there: .*ner_tags"):
        read("train", language="en", hub="a/b", tag_column="upos")


def test_numbers_without_names_are_no_tags(loaded: list[tuple[Any, ...]]) -> None:
    with pytest.raises(DataError, match="'numbers' holds values that are no tags"):
        read("train", language="en", hub="a/b", tag_column="numbers")


def test_a_local_folder_is_loaded_through_datasets(ner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "data"
    folder.mkdir()
    ner.to_parquet(folder / "test.parquet")
    found = read("test", language="en", hub=str(folder), tag_column="ner_tags")
    assert [s.tags for s in found] == [("B-PER", "I-PER"), ("O",)]
    with pytest.raises(DataError, match="cannot load revision newest: ValueError"):
        read("nosplit", language="en", hub=str(folder))


def test_a_mistyped_folder_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        read("train", language="en", hub=str(tmp_path / "missing"))


def test_a_part_kept_in_a_folder_is_read_like_a_configuration(ner: Any, tmp_path: Path) -> None:
    for part, rows in (("es", [0]), ("nl", [1])):
        (tmp_path / part).mkdir()
        ner.select(rows).to_parquet(str(tmp_path / part / "train.parquet"))
    for part, word in (("es", "Ada"), ("nl", "a\u00a0b")):
        found = read("train", language=part, hub=str(tmp_path), config=part, tag_column="ner_tags", scheme="IOB2")
        assert [sentence.words[0] for sentence in found] == [word]
