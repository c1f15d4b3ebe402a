from __future__ import annotations

import gzip
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structkd.corpus import Sentence, read
from structkd.errors import DataError
from structkd.labels import UPOS

# A form holds anything but the characters that end a column or a line.
FORMS = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=("Cs",)), min_size=1, max_size=6)
SENTENCES = st.lists(st.tuples(FORMS, st.sampled_from(UPOS)), min_size=1, max_size=5)


def line(number: int | str, form: str, upos: str) -> str:
    return "\t".join([str(number), form, "_", upos, *["_"] * 6])


def write(path: Path, *lines: str) -> Path:
    path.write_bytes("\n".join([*lines, ""]).encode())
    return path


def test_ranges_and_empty_nodes_are_skipped_and_forms_keep_their_spaces(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.conllu",
        "# newdoc",
        "# sent_id = s 1",
        "# text = du 10 000",
        line("1-2", "du", "_"),
        line(1, "de", "ADP"),
        line(2, "le", "DET"),
        line("2.1", "vu", "VERB"),
        line(3, "10 000", "NUM"),
        "",
        "",
        line(1, "#", "SYM"),
    )
    assert read(path, language="fr") == [
        Sentence(("de", "le", "10 000"), ("ADP", "DET", "NUM"), "fr", "s 1"),
        Sentence(("#",), ("SYM",), "fr", "2"),
    ]


@given(st.lists(SENTENCES, min_size=1, max_size=4), st.booleans(), st.booleans(), st.booleans())
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    sentences: list[list[tuple[str, str]]],
    packed: bool,
    windows: bool,
    last_empty_line: bool,
) -> None:
    blocks = ["\n".join(line(i, form, tag) for i, (form, tag) in enumerate(s, 1)) for s in sentences]
    text = "\n\n".join(blocks) + ("\n\n" if last_empty_line else "")
    data = ("\ufeff" + (text.replace("\n", "\r\n") if windows else text)).encode()
    # The name says nothing about the packing: gzip is found by content.
    path = tmp_path_factory.getbasetemp() / "hypothesis.conllu"
    path.write_bytes(gzip.compress(data) if packed else data)
    found = read(path, language="x")
    assert [list(zip(s.words, s.tags or (), strict=True)) for s in found] == sentences


def test_other_columns_are_read_by_name_and_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", "\t".join(["1", "Rome", "rome", "PROPN", "NNP", "_", "0", "root", "_", "x=y"]))
    assert read(path, language="en", tag_column="xpos")[0].tags == ("NNP",)
    assert read(path, language="en", tag_column=7)[0].tags == ("root",)
    assert read(path, language="en", tag_column=-1)[0].tags == ("x=y",)
    assert read(path, language="en", word_column="lemma")[0].words == ("rome",)
    assert read(path, language="en", tag_column="none")[0].tags is None
    with pytest.raises(DataError, match="no column 'pos': expected one of id, form"):
        read(path, language="en", tag_column="pos")


def test_every_fault_of_a_file_is_listed_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.conllu",
        line(1, "a", "DET"),
        "2\tb\tNOUN",
        line(3, "c", "_"),
        line(1, "d", "X"),
        line(2, "", "X"),
    )
    with pytest.raises(DataError) as error:
        read(path, language="en")
    assert str(error.value).splitlines() == [
        f"{path}:2: 3 columns separated by TAB, CoNLL-U has 10",
        f"{path}:3: no upos tag; read unlabelled text with `tag_column: none`",
        f"{path}:4: word id '1', expected 4; is an empty line missing before it?",
        f"{path}:5: the form is empty",
    ]


def test_a_long_list_of_faults_is_cut_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conllu", *[line(i, "a", "_") for i in range(1, 51)])
    with pytest.raises(DataError) as error:
        read(path, language="en")
    assert len(str(error.value).splitlines()) == 21
    assert "and 30 more faults" in str(error.value)


def test_real_treebanks_have_the_counted_sentences_and_words(
    real_data: Path, manifest: dict[str, dict[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    for name in (
        "pos/train/sk_snk/train.conllu.gz",
        "pos/train/nl_lassysmall/dev.conllu.gz",
        "pos/zeroshot/it_isdt/test.conllu.gz",
        "pos/train/fr_gsd/dev.conllu.gz",
        "pud/ja_pud.conllu.gz",
    ):
        sentences = read(name, language="x", root=real_data)
        row = manifest[name]
        assert (len(sentences), sum(map(len, sentences))) == (int(row["sentences"]), int(row["tokens"])), name
        assert {tag for s in sentences for tag in s.tags or ()} == set(row["labels"].split()), name
        assert len({s.id for s in sentences}) == len(sentences), name
    assert not caplog.records


def test_vietnamese_forms_keep_the_blanks_between_syllables(real_data: Path) -> None:
    sentences = read("pos/zeroshot/vi_vtb/test.conllu.gz", language="vi", root=real_data)
    with_blank = [word for s in sentences for word in s.words if " " in word]
    assert len(with_blank) > 1000
    assert sum(map(len, sentences)) == 11692


def test_universal_ner_violations_are_repaired_with_one_warning_a_file(
    real_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        sentences = read("ner/train/da_ddt/train.iob2.gz", language="da", root=real_data, scheme="IOB2")
    assert len(sentences) == 4380
    assert len(caplog.records) == 1
    assert "train.iob2.gz:55921: first of 6 tags that broke IOB2, repaired" in caplog.text
