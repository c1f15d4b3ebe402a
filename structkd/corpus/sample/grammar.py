"""A small context-free grammar over a hand-written lexicon, both read from text files (format: README.md)."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

from structkd.labels import UPOS

CONTENT: frozenset[str] = frozenset({"ADJ", "ADV", "NOUN", "PROPN", "VERB"})
_MARKS = frozenset(".,?!")
_OPENING = frozenset("¿¡")
_VARIABLE = re.compile(r"\$([a-z])")
_MOST_SYMBOLS = 400

# A word with its part of speech and its entity tag.
Token = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Lexeme:
    """A word in all its forms: `forms` by slot, the empty slot for words of one form."""

    upos: str
    forms: Mapping[str, str]


@dataclass
class Lexicon:
    """Lexemes by class, in the order of the file."""

    classes: dict[str, list[Lexeme]] = field(default_factory=dict)

    @classmethod
    def load(cls, language: str) -> Lexicon:
        """The lexicon of a sample language."""
        lexicon = cls()
        entries: list[Lexeme] = []
        upos, slots = "", [("", "~")]
        for line in _lines("lexicons", language):
            if line.startswith(" "):
                entries.extend(_lexeme(entry, upos, slots) for entry in line.split())
                continue
            name, upos, *specs = line.removesuffix(":").split()
            if upos not in UPOS:
                raise ValueError(f"{language}: {upos} of class {name} is no part of speech")
            slots = [_slot(spec) for spec in specs] or [("", "~")]
            entries = lexicon.classes.setdefault(name, [])
        return lexicon


def _slot(spec: str) -> tuple[str, str]:
    name, _, form = spec.partition("=")
    return name, form if "~" in form else f"~{form}"


def _lexeme(entry: str, upos: str, slots: Sequence[tuple[str, str]]) -> Lexeme:
    if "/" not in entry:
        return Lexeme(upos, {name: form.replace("~", entry) for name, form in slots})
    forms = entry.split("/")
    if len(forms) != len(slots):
        raise ValueError(f"{entry} has {len(forms)} forms, its class has {len(slots)}")
    return Lexeme(upos, dict(zip((name for name, _ in slots), forms, strict=True)))


@dataclass
class Grammar:
    """Weighted rules, and what happens where words meet.

    Attributes:
        rules: symbol -> alternatives (weight, symbols).
        elisions: word -> (its form, the letters before which it takes it).
        merges: two words -> the one word that replaces them.
    """

    rules: dict[str, list[tuple[int, tuple[str, ...]]]] = field(default_factory=dict)
    elisions: dict[str, tuple[str, str]] = field(default_factory=dict)
    merges: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def load(cls, language: str) -> Grammar:
        """The grammar of a sample language."""
        grammar = cls()
        values: dict[str, list[str]] = {}
        for line in _lines("grammars", language):
            keyword, *rest = line.split()
            if keyword == "let":
                values[rest[0]] = rest[2:]
            elif keyword == "elide":
                grammar.elisions[rest[0]] = (rest[1], rest[2])
            elif keyword == "merge":
                grammar.merges[rest[0], rest[1]] = rest[2]
            else:
                for alternative in line.partition(" -> ")[2].split(" | "):
                    grammar._add(keyword, alternative, values)
        return grammar

    def literals(self) -> set[str]:
        """The words that stand in the rules themselves."""
        symbols = {symbol for options in self.rules.values() for _, body in options for symbol in body}
        return {symbol.rpartition(":")[0] for symbol in symbols if _is_literal(symbol)}

    def terminals(self) -> set[str]:
        """The `class.slot` names that the rules take words from."""
        symbols = {symbol for options in self.rules.values() for _, body in options for symbol in body}
        return {symbol.strip("<>?") for symbol in symbols if symbol.startswith("<")}

    def sentence(self, words: Mapping[str, Sequence[tuple[str, str]]], random_: random.Random) -> list[Token] | None:
        """A sentence, or None if the rules ran away.

        Args:
            words: `class.slot` -> words with their part of speech.
            random_: the source of all choices.
        """
        tokens: list[Token] = []
        stack = ["S"]
        entity, position = "", "O"
        for _ in range(_MOST_SYMBOLS):
            if not stack:
                return self._join(tokens)
            symbol = stack.pop()
            if len(symbol) > 1 and symbol.endswith("?"):
                if random_.random() < 0.5:
                    continue
                symbol = symbol[:-1]
            if symbol.startswith("[") and len(symbol) > 1:
                entity, position = symbol[1:], "B"
            elif symbol == "]":
                entity, position = "", "O"
            elif symbol in self.rules:
                options = self.rules[symbol]
                weights = [weight for weight, _ in options]
                stack.extend(reversed(random_.choices(options, weights)[0][1]))
            else:
                word, upos = _word(symbol, words, random_)
                tokens.append((word, upos, f"{position}-{entity}" if entity else "O"))
                position = "I" if entity else "O"
        return None

    def _add(self, symbol: str, alternative: str, values: Mapping[str, list[str]]) -> None:
        """Add an alternative once for each combination of values of its variables."""
        weight, *body = alternative.split()
        names = sorted(set(_VARIABLE.findall(f"{symbol} {alternative}")))
        for combination in itertools.product(*(values[name] for name in names)):
            chosen = dict(zip(names, combination, strict=True))
            filled = [_VARIABLE.sub(lambda match: chosen[match[1]], part) for part in (symbol, *body)]  # noqa: B023
            self.rules.setdefault(filled[0], []).append((int(weight), tuple(filled[1:])))

    def _join(self, tokens: Sequence[Token]) -> list[Token]:
        elided = []
        for (word, upos, tag), following in itertools.zip_longest(tokens, tokens[1:]):
            form, before = self.elisions.get(word, ("", ""))
            elided.append((form if following and following[0][0] in before else word, upos, tag))
        joined: list[Token] = []
        for word, upos, tag in elided:
            last = joined[-1][0] if joined else ""
            if word in _MARKS and last == ",":
                # The comma that closes a clause gives way to the mark that closes the sentence.
                joined[-1] = (word, upos, tag)
            elif (last, word) in self.merges:
                joined[-1] = (self.merges[last, word], *joined[-1][1:])
            else:
                joined.append((word, upos, tag))
        start = 1 if joined[0][0] in _OPENING else 0
        word, upos, tag = joined[start]
        joined[start] = (word[0].upper() + word[1:], upos, tag)
        return joined


def _word(symbol: str, words: Mapping[str, Sequence[tuple[str, str]]], random_: random.Random) -> tuple[str, str]:
    if symbol.startswith("<"):
        return random_.choice(words[symbol[1:-1]])
    if symbol in _MARKS:
        return symbol, "PUNCT"
    if not _is_literal(symbol):
        raise ValueError(f"the grammar has no rule for {symbol}")
    word, _, upos = symbol.rpartition(":")
    return word, upos


def _is_literal(symbol: str) -> bool:
    return ":" in symbol and not symbol.startswith("<")


def _lines(folder: str, language: str) -> Iterator[str]:
    text = (files(__package__) / folder / f"{language}.txt").read_text(encoding="utf-8")
    return (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
