from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structkd.corpus import Sentence, read, tokenise
from structkd.errors import DataError

WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6).filter(str.strip)


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        (
            "und",
            "Well-known: O'Neill paid 10,000.5 (at 12:30)...",
            "Well-known : O'Neill paid 10,000.5 ( at 12:30 ) ...",
        ),
        ("en", "They don't say it's John’s.", "They do n't say it 's John ’s ."),  # noqa: RUF001
        ("fr", "L'homme qu’il a vu aujourd'hui", "L' homme qu’ il a vu aujourd' hui"),  # noqa: RUF001
        ("de-AT", "Übung macht „Meister“ - hört!", "Übung macht „ Meister “ - hört !"),
        ("hi", "हिन्दी में।", "हिन्दी में ।"),
        ("und", "see https://x.org/a?b=1 now!!", "see https://x.org/a?b=1 now !!"),
        ("und", "cafe\u0301 'quoted' students'", "cafe\u0301 ' quoted ' students '"),
    ],
)
def test_words_and_marks_are_cut_as_documented(language: str, text: str, words: str) -> None:
    assert tokenise(text, language) == words.split()


@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Cn"))), st.sampled_from(["und", "en", "fr"]))
def test_tokenising_loses_nothing_but_space(text: str, language: str) -> None:
    kept = "".join(tokenise(text, language))
    assert kept == "".join(text.split())


def test_text_is_unlabelled_one_sentence_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "Hello there!", "", "  ", "Bye.")
    assert read(path, language="en") == [
        Sentence(("Hello", "there", "!"), None, "en", "1"),
        Sentence(("Bye", "."), None, "en", "2"),
    ]


def test_jsonl_takes_words_or_tokens_with_optional_id_tags_and_language(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"words": ["a b", "c"], "tags": ["X", "Y"], "id": 7, "upos": ["DET", "NOUN"]},
        {"tokens": ["d"], "tags": ["Z"], "language": "de", "upos": ["ADV"]},
    )
    assert read(path, language="en") == [
        Sentence(("a b", "c"), ("X", "Y"), "en", "7"),
        Sentence(("d",), ("Z",), "de", "2"),
    ]
    assert [s.tags for s in read(path, language="en", tag_column="upos")] == [("DET", "NOUN"), ("ADV",)]
    assert read(path, language="en", tag_column="none")[0].tags is None


@given(st.lists(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4), min_size=1, max_size=3), st.booleans())
def test_what_is_written_as_jsonl_is_read(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[tuple[str, str]]], escaped: bool
) -> None:
    rows = [{"words": [w for w, _ in s], "tags": [t for _, t in s]} for s in sentences]
    path = tmp_path_factory.getbasetemp() / "hypothesis.jsonl"
    path.write_bytes("\n".join(json.dumps(row, ensure_ascii=escaped) for row in rows).encode())
    found = read(path, language="x")
    assert [list(zip(s.words, s.tags or (), strict=True)) for s in found] == sentences


def test_every_fault_of_a_jsonl_file_is_listed_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"words": ["a"], "tags": ["X"]},
        "{",
        [1],
        {"text": "a"},
        {"words": ["a", ""], "tags": ["X", "X"]},
        {"words": ["a"], "tags": ["X", "Y"]},
        {"words": ["a"]},
        {"words": ["\ud800"], "tags": ["X"]},
    )
    with pytest.raises(DataError) as error:
        read(path, language="en")
    faults = str(error.value).splitlines()
    assert [int(fault.removeprefix(f"{path}:").split(":")[0]) for fault in faults] == [2, 3, 4, 5, 6, 8, 7]
    assert "the keys are text" in str(error.value)
    assert "1 words but 2 tags" in str(error.value)
    assert 'no "tags", which other lines have' in str(error.value)
