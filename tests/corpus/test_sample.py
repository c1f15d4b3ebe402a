from __future__ import annotations

import random
import unicodedata

import pytest

from structkd.corpus import Sentence, read, token_fingerprint
from structkd.corpus.sample import LANGUAGES, TASKS, UNSEEN_LANGUAGES, sentences, split_sizes
from structkd.corpus.sample.generate import part_of_lexemes
from structkd.corpus.sample.grammar import CONTENT, Grammar, Lexicon
from structkd.errors import UsageError
from structkd.labels import UPOS, LabelSet, violations

ALL_LANGUAGES = LANGUAGES + UNSEEN_LANGUAGES


def every_sentence(task: str) -> list[Sentence]:
    return [
        s for language in ALL_LANGUAGES for split in split_sizes(language) for s in sentences(language, split, task)
    ]


def test_the_sentences_are_the_same_on_every_machine() -> None:
    written = [field for task in TASKS for s in every_sentence(task) for field in (*s.words, *(s.tags or ()), s.id)]
    assert token_fingerprint(written) == "bd48f68e79daf7be"


def test_every_language_has_its_splits_in_full() -> None:
    for language in LANGUAGES:
        assert split_sizes(language) == {"train": 400, "dev": 60, "test": 150, "untagged": 1000}
    for language in UNSEEN_LANGUAGES:
        assert split_sizes(language) == {"test": 150, "untagged": 300}
    for language in ALL_LANGUAGES:
        for split, size in split_sizes(language).items():
            found = sentences(language, split)
            assert len(found) == size
            assert all(4 <= len(s) <= 20 for s in found)
            assert all((s.tags is None) == (split == "untagged") for s in found)
            assert all(s.language == language for s in found)
    assert len({s.id for s in every_sentence("upos")}) == len(every_sentence("upos"))


def test_no_sentence_of_a_language_is_in_two_splits() -> None:
    for language in ALL_LANGUAGES:
        words = [s.words for split in split_sizes(language) for s in sentences(language, split)]
        assert len(words) == len(set(words))


@pytest.mark.parametrize("language", ALL_LANGUAGES)
def test_tags_are_legal_and_every_entity_type_occurs(language: str) -> None:
    entities = LabelSet.for_entities(["PER", "LOC", "ORG"])
    seen = set()
    for split in set(split_sizes(language)) - {"untagged"}:
        for upos, ner in zip(sentences(language, split, "upos"), sentences(language, split, "ner"), strict=True):
            assert upos.words == ner.words
            assert upos.tags is not None
            assert ner.tags is not None
            assert set(upos.tags) <= set(UPOS)
            assert violations(ner.tags, "IOB2") == []
            seen |= set(ner.tags)
    assert seen == set(entities.tags)


def test_no_content_word_of_a_test_part_is_tagged_in_training_in_any_language() -> None:
    trained = {word.casefold() for language in LANGUAGES for s in sentences(language, "train") for word in s.words}
    for language in LANGUAGES:
        known = {form.casefold() for _, lexeme, _ in part_of_lexemes(language) for form in lexeme.forms.values()}
        literals = {word.casefold() for word in Grammar.load(language).literals()}
        new = [
            word.casefold()
            for s in sentences(language, "test")
            for word, tag in zip(s.words, s.tags or (), strict=True)
            if tag in CONTENT and word.casefold() in known - literals
        ]
        assert len(new) > 450, f"{language}: the test part must be hard"
        assert not trained & set(new)


def test_untagged_text_holds_some_words_of_the_test_part_and_not_all() -> None:
    for language in LANGUAGES:
        vocabulary = {
            split: {w.casefold() for s in sentences(language, split) for w in s.words}
            for split in split_sizes(language)
        }
        new = vocabulary["test"] - vocabulary["train"]
        assert 0.4 < len(new & vocabulary["untagged"]) / len(new) < 0.8


@pytest.mark.parametrize("language", ALL_LANGUAGES)
def test_lexicons_hold_clean_words_with_legal_parts_of_speech(language: str) -> None:
    for name, lexemes in Lexicon.load(language).classes.items():
        entries = [tuple(lexeme.forms.values()) for lexeme in lexemes]
        assert len(entries) == len(set(entries)), f"{language} {name} repeats a word"
        for lexeme in lexemes:
            assert lexeme.upos in UPOS
            for form in lexeme.forms.values():
                assert form == unicodedata.normalize("NFC", form)
                assert form.replace("-", "").isalpha(), form
                assert lexeme.upos == "PROPN" or language == "de" or form.islower(), form


@pytest.mark.parametrize("language", ALL_LANGUAGES)
def test_every_symbol_and_word_class_of_a_grammar_is_defined(language: str) -> None:
    grammar, lexicon = Grammar.load(language), Lexicon.load(language)
    defined = {
        f"{name}.{slot}" if slot else name
        for name, lexemes in lexicon.classes.items()
        for lexeme in lexemes
        for slot in lexeme.forms
    }
    assert grammar.terminals() <= defined
    assert {word.rpartition(".")[0] or word for word in defined} <= {
        word.rpartition(".")[0] or word for word in grammar.terminals()
    }, "every class is used"
    for options in grammar.rules.values():
        for _, body in options:
            for symbol in body:
                bare = symbol if len(symbol) == 1 else symbol.removesuffix("?")
                if bare in grammar.rules or bare.startswith(("<", "[")) or bare in {"]", ".", ",", "?", "!"}:
                    continue
                assert bare.rpartition(":")[2] in UPOS, bare


def test_words_change_where_they_meet() -> None:
    grammar = Grammar.load("fr")
    grammar.rules = {"S": [(1, ("de:ADP", "le:DET", "<x>", "de:ADP", "le:DET", "<y>", ",", "."))]}
    words = {"x": [("ami", "NOUN")], "y": [("roi", "NOUN")]}
    found = grammar.sentence(words, random.Random(0))
    assert found == [
        ("De", "ADP", "O"), ("l'", "DET", "O"), ("ami", "NOUN", "O"),
        ("du", "ADP", "O"), ("roi", "NOUN", "O"), (".", "PUNCT", "O"),
    ]  # fmt: skip


def test_a_grammar_that_runs_away_gives_no_sentence() -> None:
    grammar = Grammar(rules={"S": [(1, ("S", "S"))]})
    assert grammar.sentence({}, random.Random(0)) is None


def test_the_sample_is_read_like_any_corpus() -> None:
    assert read("test", language="pt", format="sample") == sentences("pt", "test", "upos")
    assert read("train", language="de", format="sample", tag_column="ner") == sentences("de", "train", "ner")
    assert read("train", language="de", format="sample", tag_column="none")[0].tags is None


def test_what_the_sample_does_not_have_is_named_with_what_it_has() -> None:
    with pytest.raises(UsageError, match="no language 'it': expected en, de, es, fr, nl, pt"):
        read("train", language="it", format="sample")
    with pytest.raises(UsageError, match="sample of nl has no split 'train': expected test, untagged"):
        read("train", language="nl", format="sample")
    with pytest.raises(UsageError, match="no task 'chunk': expected upos, ner"):
        read("train", language="en", format="sample", tag_column="chunk")
    with pytest.raises(UsageError, match="tag_column 3 is a number"):
        read("train", language="en", format="sample", tag_column=3)
