"""The sentences of the embedded sample: which words each split may use, and the drawing of the sentences."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from itertools import cycle

from structkd.corpus.sample.grammar import CONTENT, Grammar, Lexeme, Lexicon, Token
from structkd.corpus.sentence import Sentence
from structkd.errors import UsageError

LANGUAGES: tuple[str, ...] = ("en", "de", "es", "fr")
"""Languages with tagged training sentences."""

UNSEEN_LANGUAGES: tuple[str, ...] = ("nl", "pt")
"""Related languages that have a test part and untagged text only."""

TASKS: tuple[str, ...] = ("upos", "ner")

_SIZES = {"train": 400, "dev": 60, "test": 150, "untagged": 1000}
_UNSEEN_SIZES = {"test": 150, "untagged": 300}
_LENGTHS = range(4, 21)
# Every class deals its words to the parts in this order; "late" words are test words that untagged text holds too.
_DEAL = ("train", "train", "test", "train", "late", "train", "dev", "late")
# The parts that a split takes words from, with how often each word is put in the urn.
_URNS = {
    "train": {"train": 1},
    "dev": {"train": 1, "dev": 4},
    "test": {"test": 1, "late": 1},
    "untagged": {"train": 1, "dev": 1, "late": 1},
}
# Nobody trains on an unseen language, so that its test part may use every word.
_UNSEEN_URNS = {**_URNS, "test": {"train": 1, "dev": 1, "test": 1, "late": 1}}


def sentences(language: str, split: str, task: str = "upos") -> list[Sentence]:
    """Sentences of the embedded sample; the same ones on every machine.

    Args:
        language: one of LANGUAGES or UNSEEN_LANGUAGES.
        split: "train", "dev", "test" or "untagged"; an unseen language has "test" and "untagged" only.
        task: "upos" for parts of speech, "ner" for entities (PER, LOC, ORG) in IOB2, on the same sentences.

    Raises:
        UsageError: there is no such language, split or task.
    """
    sizes = split_sizes(language)
    if split not in sizes:
        raise UsageError(f"the sample of {language} has no split {split!r}: expected {', '.join(sizes)}")
    if task not in TASKS:
        raise UsageError(f"the sample has no task {task!r}: expected {', '.join(TASKS)}")
    column = 1 + TASKS.index(task)
    return [
        Sentence(
            words=tuple(token[0] for token in tokens),
            tags=None if split == "untagged" else tuple(token[column] for token in tokens),
            language=language,
            id=f"{language}-{split}-{number}",
        )
        for number, tokens in enumerate(_corpus(language)[split], start=1)
    ]


def split_sizes(language: str) -> dict[str, int]:
    """Number of sentences of each split of a sample language.

    Raises:
        UsageError: the sample does not have the language.
    """
    if language in LANGUAGES:
        return dict(_SIZES)
    if language in UNSEEN_LANGUAGES:
        return dict(_UNSEEN_SIZES)
    raise UsageError(f"the sample has no language {language!r}: expected {', '.join(LANGUAGES + UNSEEN_LANGUAGES)}")


def part_of_lexemes(language: str) -> Iterator[tuple[str, Lexeme, str]]:
    """Class, lexeme and part ("train", "dev", "test", "late") of every word of a language's lexicon.

    Words that share a form, in whichever teacher language, are in one part: no form of a test word is ever tagged in
    training. Words that are also written in a grammar's rules are training words.
    """
    group = LANGUAGES if language in LANGUAGES else (language,)
    for owner, name, lexeme, part in _deal(group):
        if owner == language:
            yield name, lexeme, part


@cache
def _deal(languages: tuple[str, ...]) -> list[tuple[str, str, Lexeme, str]]:
    entries = [
        (language, name, lexeme)
        for language in languages
        for name, lexemes in Lexicon.load(language).classes.items()
        for lexeme in lexemes
    ]
    parent: dict[str, str] = {}

    def root(form: str) -> str:
        while parent.setdefault(form, form) != form:
            form = parent[form]
        return form

    for _, _, lexeme in entries:
        first, *others = (form.casefold() for form in lexeme.forms.values())
        for other in others:
            parent[root(other)] = root(first)
    parts = {root(word.casefold()): "train" for language in languages for word in Grammar.load(language).literals()}
    dealt = []
    hands = {(language, name): cycle(_DEAL) for language, name, _ in entries}
    for language, name, lexeme in entries:
        key = root(next(iter(lexeme.forms.values())).casefold())
        if key not in parts:
            # Function words are known to everybody.
            parts[key] = next(hands[language, name]) if lexeme.upos in CONTENT else "train"
        dealt.append((language, name, lexeme, parts[key]))
    return dealt


@cache
def _corpus(language: str) -> dict[str, list[list[Token]]]:
    """All splits of a language; no sentence is in two of them."""
    grammar = Grammar.load(language)
    urns = _URNS if language in LANGUAGES else _UNSEEN_URNS
    seen: set[tuple[str, ...]] = set()
    corpus: dict[str, list[list[Token]]] = {}
    for split, size in split_sizes(language).items():
        words: dict[str, list[tuple[str, str]]] = {}
        for name, lexeme, part in part_of_lexemes(language):
            for slot, form in lexeme.forms.items():
                terminal = f"{name}.{slot}" if slot else name
                words.setdefault(terminal, []).extend([(form, lexeme.upos)] * urns[split].get(part, 0))
        random_ = random.Random(f"{language} {split}")
        corpus[split] = []
        while len(corpus[split]) < size:
            tokens = grammar.sentence(words, random_)
            key = tuple(token[0] for token in tokens or ())
            if tokens is not None and len(tokens) in _LENGTHS and key not in seen:
                seen.add(key)
                corpus[split].append(tokens)
    return corpus
