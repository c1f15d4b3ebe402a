from __future__ import annotations

import json
from pathlib import Path

import pytest

from structkd.corpus import Sentence, match_annotations, read_annotations
from structkd.errors import DataError

CORPUS = [Sentence(("la", "casa"), None, "es", "s1"), Sentence(("ver",), ("V",), "es", "s2")]


def write(path: Path, *rows: object) -> Path:
    file = path / "notes.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return file


def faults(path: Path, *rows: object) -> str:
    with pytest.raises(DataError) as caught:
        read_annotations(write(path, *rows), language="es")
    return str(caught.value)


def test_all_kinds_are_read(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {"id": "s1", "words": ["la", "casa"], "tags": ["D", None]},
        "",
        {"id": 2, "nbest": [{"tags": ["V"], "weight": 3}, {"tags": ["N"], "weight": 0.5}], "language": "es"},
        {"words": ["ver"], "posteriors": [{"V": 0.75, "N": 0.2502, "D": 0}]},
    )
    tags, nbest, posteriors = read_annotations(file, language="es")
    assert (tags.line, tags.id, tags.words, tags.tags) == (1, "s1", ("la", "casa"), ("D", None))
    assert (nbest.line, nbest.id, nbest.words) == (3, "2", None)
    assert nbest.nbest == ((("V",), 3.0), (("N",), 0.5))
    assert nbest.length == 1
    assert posteriors.id == "4"
    assert posteriors.posteriors is not None
    assert posteriors.posteriors[0] == pytest.approx({"V": 0.75 / 1.0002, "N": 0.2502 / 1.0002})


def test_every_fault_is_told_with_its_line(tmp_path: Path) -> None:
    message = faults(
        tmp_path,
        "{",
        [],
        {"id": "a", "tags": ["D"], "posteriors": [{"D": 1}]},
        {"id": "b"},
        {"id": "c", "words": ["x", "y"], "tags": ["D"]},
        {"id": "d", "words": ["x"], "nbest": [{"tags": ["D"], "weight": 0}]},
        {"id": "e", "nbest": [{"tags": ["D"]}]},
        {"id": "f", "nbest": [{"tags": ["D"], "weight": 1}, {"tags": ["D", "D"], "weight": 1}]},
        {"id": "g", "posteriors": [{"D": 0.5, "V": 0.4}]},
        {"id": "h", "posteriors": [{"D": -1}]},
        {"id": "i", "tags": ["D", 3]},
        {"id": "j", "tags": ["D"], "language": "fr"},
        {"id": "j", "tags": ["V"]},
        {"id": "k", "tags": []},
    )
    for line, what in [
        (1, "not JSON"),
        (2, "expected an object"),
        (3, "expected one of tags, nbest, posteriors, got tags, posteriors"),
        (4, "got none of them"),
        (5, "2 words but 1 tags"),
        (6, "weight 0, expected a number above 0"),
        (7, "expected objects"),
        (8, "taggings of different lengths: 1, 2"),
        (9, "word 1: they sum to 0.9, expected 1"),
        (10, "expected {"),
        (11, "expected strings or null"),
        (12, "language 'fr', expected 'es'"),
        (13, "'j' is already on line 12"),
        (14, "a list that is not empty"),
    ]:
        assert any(part.startswith(f"{tmp_path}/notes.jsonl:{line}: ") and what in part for part in message.split("\n"))


def test_annotations_take_their_words_from_the_corpus(tmp_path: Path) -> None:
    file = write(tmp_path, {"id": "s2", "tags": ["N"]}, {"id": "s1", "tags": ["D", "N"]})
    found = match_annotations(read_annotations(file), CORPUS, file)
    assert [annotation.words for annotation in found] == [("ver",), ("la", "casa")]


def test_annotations_of_other_text_than_the_corpus_are_refused_line_by_line(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        {"id": "s1", "words": ["la", "Casa"], "tags": ["D", "N"]},
        {"id": "s2", "tags": ["D", "N"]},
        {"id": "s3", "tags": ["N"]},
    )
    with pytest.raises(DataError) as caught:
        match_annotations(read_annotations(file), CORPUS, file)
    first, second, third = str(caught.value).split("\n")
    assert first.endswith("notes.jsonl:1: sentence 's1': word 2 is 'Casa', the corpus has 'casa'")
    assert second.endswith(":2: sentence 's2': 2 words, the corpus has 1")
    assert third.endswith(":3: sentence 's3' is not in the corpus (2 sentences)")


def test_without_a_corpus_a_line_needs_its_words(tmp_path: Path) -> None:
    file = write(tmp_path, {"id": "s1", "tags": ["D"]})
    with pytest.raises(DataError, match=r'notes\.jsonl:1: no "words"'):
        match_annotations(read_annotations(file), None, file)
