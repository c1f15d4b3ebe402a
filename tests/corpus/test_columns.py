from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structkd.corpus import Sentence, read
from structkd.errors import DataError

FORMS = st.text(st.characters(exclude_characters="\t\n\r\ufeff", exclude_categories=("Cs",)), min_size=1, max_size=6)
TAGS = st.sampled_from(["O", "B-PER", "I-PER"])
# Blanks alone in a column would make the line of an untagged file empty; "# a = b" is how comments look.
WORDS = FORMS.filter(lambda form: form.strip(" ") and "=" not in form)


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def words_and_tags(sentences: list[Sentence]) -> list[list[tuple[str, str]]]:
    return [list(zip(s.words, s.tags or (), strict=True)) for s in sentences]


def test_universal_ner_is_recognised_by_its_comments_and_numbers(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.iob2",
        "# newdoc id = d\n# sent_id = d-1\n# text = # 1\n1\t#\tO\t-\t-\n2\t10 000\tB-ORG\tB-ORG#O\tme\n\n"
        "# sent_id = d-1\n1\tRome\tB-LOC\t-\t-\n",
    )
    assert read(path, language="en", scheme="IOB2") == [
        Sentence(("#", "10 000"), ("O", "B-ORG"), "en", "d-1"),
        Sentence(("Rome",), ("B-LOC",), "en", "d-1~2"),
    ]
    assert read(path, language="en", tag_column=4)[0].tags == ("-", "me")


def test_a_word_may_be_a_hash_sign_and_a_comment_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "# a comment\n#\tO\n# x\tB-X\nFF\tO\n\n#FF\tO\n")
    assert words_and_tags(read(path, language="en")) == [[("#", "O"), ("# x", "B-X"), ("FF", "O")], [("#FF", "O")]]


def test_blanks_cut_only_where_there_is_no_tab_and_never_at_other_spaces(tmp_path: Path) -> None:
    by_tab = write(tmp_path / "a.tsv", "New York\tB-LOC\n\u00a0\tO\n")
    assert words_and_tags(read(by_tab, language="en")) == [[("New York", "B-LOC"), ("\u00a0", "O")]]
    by_blank = write(tmp_path / "b.conll", "10\u00a0000  NUM  O\nx\u2028y X B-X\n")
    assert words_and_tags(read(by_blank, language="en")) == [[("10\u00a0000", "O"), ("x\u2028y", "B-X")]]


def test_conll_2003_is_read_without_document_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path / "eng.conll",
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n-DOCSTART- -X- -X- O\n\n. . O O\n",
    )
    assert words_and_tags(read(path, language="en")) == [[("EU", "B-ORG"), ("rejects", "O")], [(".", "O")]]
    assert read(path, language="en", tag_column=1)[0].tags == ("NNP", "VBZ")
    assert read(path, language="en", tag_column=-3)[0].tags == ("NNP", "VBZ")
    assert read(path, language="en", word_column=1, tag_column=0)[0].words == ("NNP", "VBZ")


def test_one_column_is_tokenised_text_without_tags(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "# sent_id = x\nHello\n#\n!\n\nBye\n")
    assert read(path, language="en") == [
        Sentence(("Hello", "#", "!"), None, "en", "x"),
        Sentence(("Bye",), None, "en", "2"),
    ]


@given(st.lists(st.lists(st.tuples(WORDS, TAGS), min_size=1, max_size=4), min_size=1, max_size=4))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, sentences: list[list[tuple[str, str]]]
) -> None:
    text = "\n\n".join("\n".join(f"{word}\t{tag}" for word, tag in s) for s in sentences)
    path = write(tmp_path_factory.getbasetemp() / "hypothesis.tsv", text)
    assert words_and_tags(read(path, language="x")) == sentences


def test_every_fault_of_a_file_is_listed_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "a\tO\nb\nc\t\n\n\tO\n")
    with pytest.raises(DataError) as error:
        read(path, language="en")
    assert str(error.value).splitlines() == [
        f"{path}:2: 1 columns separated by TAB, expected 2 as in line 1",
        f"{path}:3: no tag in column 1",
        f"{path}:5: the word is empty",
    ]


def test_a_missing_column_is_named_with_those_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", "a\tO\n")
    with pytest.raises(DataError, match="tag_column 3 is not there: the file has 2 columns, 0 to 1"):
        read(path, language="en", tag_column=3)
    with pytest.raises(DataError, match="'upos' is a name; a column file needs a number"):
        read(path, language="en", tag_column="upos")
    with pytest.raises(DataError, match="words and tags are both read from column 0 of 2"):
        read(path, language="en", tag_column=0)


def test_real_column_files_have_the_counted_sentences_and_words(
    real_data: Path, manifest: dict[str, dict[str, str]]
) -> None:
    for name in (
        "ner/train/sk_snk/test.iob2.gz",
        "ner/pud/de_pud/test.iob2.gz",
        "ner/zeroshot/ceb_gja/test.iob2.gz",
        "ner/extra/fi_turku/dev.tsv.gz",
        "ner/extra/en_wnut17/train.tsv.gz",
    ):
        sentences = read(name, language="x", root=real_data, scheme="IOB2")
        row = manifest[name]
        assert (len(sentences), sum(map(len, sentences))) == (int(row["sentences"]), int(row["tokens"])), name
        types = {tag[2:] for s in sentences for tag in s.tags or () if tag != "O"}
        assert types == {label for label in row["labels"].split() if label[:2] not in ("B-", "I-") and label != "O"}
