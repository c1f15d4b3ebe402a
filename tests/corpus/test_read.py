from __future__ import annotations

import gzip
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structkd.corpus import READERS, Sentence, check_tags, evenly_spaced, read, token_fingerprint
from structkd.errors import DataError, UsageError
from structkd.labels import UPOS, LabelSet


def test_a_missing_file_is_named_with_the_root_it_was_looked_for_in(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a/b\.conllu: does not exist \(the corpus root is ") as error:
        read("a/b.conllu", language="en", root=tmp_path)
    assert str(tmp_path) in str(error.value)
    with pytest.raises(DataError, match="no corpus root is set: set"):
        read("a/b.conllu", language="en")
    with pytest.raises(DataError, match="is a folder"):
        read(tmp_path, language="en")


def test_an_absolute_location_ignores_the_root(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Hi")
    assert read(tmp_path / "a.txt", language="en", root="/nowhere")[0].words == ("Hi",)


def test_a_name_that_tells_no_format_asks_for_one(tmp_path: Path) -> None:
    path = tmp_path / "eng.train"
    path.write_text("a O\n")
    with pytest.raises(DataError, match="cannot tell the format from the name"):
        read(path, language="en")
    assert read(path, language="en", format="columns")[0].tags == ("O",)
    with pytest.raises(UsageError, match="'conll' is unknown: expected auto, conllu, columns"):
        read(path, language="en", format="conll")


def test_hub_options_are_refused_for_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="belong to format 'hub'"):
        read(tmp_path / "x.txt", language="en", revision="abc")
    with pytest.raises(UsageError, match="needs the id of a data set"):
        read("train", language="en", format="hub")


@pytest.mark.parametrize("content", [b"", b"\n\n", gzip.compress(b""), b"\xef\xbb\xbf"])
@pytest.mark.parametrize("name", ["a.conllu", "a.tsv", "a.jsonl", "a.txt"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: the file is empty"):
        read(path, language="en")


def test_a_file_of_comments_alone_has_no_sentences(tmp_path: Path) -> None:
    for name in ("a.conllu", "a.tsv"):
        path = tmp_path / name
        path.write_text("# sent_id = 1\n# text = nothing\n")
        with pytest.raises(DataError, match="no sentences"):
            read(path, language="en")


def test_bytes_that_are_not_utf8_are_named_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("ok\tO\ncafé\tO\n\nnaïve\tO\n".encode("latin-1"))
    with pytest.raises(DataError) as error:
        read(path, language="en")
    assert str(error.value).splitlines() == [
        f"{path}:2: byte 0xe9 at column 4 is not UTF-8; convert the file",
        f"{path}:4: byte 0xef at column 3 is not UTF-8; convert the file",
    ]


def test_a_cut_gzip_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"some text that is long enough\n" * 50)[:-12])
    with pytest.raises(DataError, match="damaged gzip"):
        read(path, language="en")


def test_repeated_ids_get_ordinal_suffixes_that_collide_with_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("\n".join(f"# sent_id = {i}\na\tO\n" for i in ("s", "s~2", "s", "s", "2")) + "\nb\tO\n")
    ids = [s.id for s in read(path, language="en")]
    assert ids[:2] == ["s", "s~2"]
    assert len(set(ids)) == 6


def test_broken_entities_are_repaired_and_counted_once_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("a\tO\n\nb\tO\nc\tI-PER\nd\tI-LOC\n")
    with caplog.at_level(logging.WARNING):
        sentences = read(path, language="en", scheme="IOB2")
    assert sentences[1].tags == ("O", "B-PER", "B-LOC")
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}:3: first of 2 tags that broke IOB2, repaired"
    ]
    assert read(path, language="en")[1].tags == ("O", "I-PER", "I-LOC")


def test_tags_foreign_to_the_scheme_are_all_listed(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("a\tPER\n\nb\tO\n\nc\tS-LOC\n")
    with pytest.raises(DataError) as error:
        read(path, language="en", scheme="IOB2")
    assert [fault.split(": ")[0] for fault in str(error.value).splitlines()] == [f"{path}:1", f"{path}:5"]


def test_check_tags_counts_each_foreign_tag_and_names_its_first_sentence() -> None:
    sentences = [
        Sentence(("a", "b"), ("NOUN", "N"), "en", "s1"),
        Sentence(("a", "b"), ("N", "V"), "en", "s2"),
        Sentence(("a",), None, "en", "s3"),
    ]
    with pytest.raises(DataError) as error:
        check_tags(sentences, LabelSet(UPOS), "en.conllu")
    lines = str(error.value).splitlines()
    assert lines[0] == "en.conllu: tag 'N' of 2 words (first in sentence s1) is not in the label set"
    assert lines[1] == "en.conllu: tag 'V' of 1 words (first in sentence s2) is not in the label set"
    assert "ADJ, ADP" in lines[2]
    check_tags(sentences[2:], LabelSet(UPOS), "en.conllu")


@given(st.integers(0, 60), st.integers(0, 70))
def test_evenly_spaced_items_and_the_rest_are_all_items(total: int, n: int) -> None:
    taken, rest = evenly_spaced(range(total), n)
    assert sorted(taken + rest) == list(range(total))
    assert taken == ([i * total // n for i in range(n)] if n < total else list(range(total)))
    assert rest == sorted(rest)


def test_a_negative_number_of_sentences_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot take -1"):
        evenly_spaced([1], -1)


def test_the_token_fingerprint_tells_where_words_end() -> None:
    assert token_fingerprint(["a b", "c"]) != token_fingerprint(["a", "b c"])
    assert token_fingerprint(["1", "2:x"]) != token_fingerprint(["1", "2", "x"])
    assert token_fingerprint(("New York",)) == token_fingerprint(["New York"]) == "63f9636a99dc560b"


def test_without_tags_keeps_all_but_the_tags() -> None:
    sentence = Sentence(("a",), ("X",), "en", "1")
    assert sentence.without_tags() == Sentence(("a",), None, "en", "1")
    assert len(sentence) == 1


def test_the_readers_are_those_of_the_interface() -> None:
    assert READERS == ("conllu", "columns", "jsonl", "text", "sample", "hub")


def test_files_are_read_without_importing_datasets() -> None:
    import subprocess

    code = "import sys, structkd.corpus; print([m for m in ('datasets', 'torch', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
