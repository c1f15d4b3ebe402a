"""A recipe over files of a toy language pair: small enough that every stage takes a second."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from structkd.recipe import Recipe, parse_recipe

ENCODER = "{type: recurrent, ngram_buckets: 200, ngram_dim: 8, hidden: 8, dropout: 0.1}"
TEXT = """
name: toy/pos
description: a toy
task: pos
labels: {{tags: [N, V, D]}}
corpus: {{root: {root}, gold: 30, untagged: rest}}
teachers:
{teachers}
unseen: [{{language: cc, corpus: {{title: Toy cc, test: cc.test.jsonl}}}}]
student:
  encoder: {encoder}
  training: {{epochs: 2, batch_size: 8, learning_rate: 2e-2}}
objective: {objective}
baseline: {{epochs: 3}}
seeds: [1, 2]
"""
CARD = """
- name: toy/{language}
  language: {language}
  task: pos
  corpus:
    title: Toy {language}
    train: {language}.train.jsonl
    dev: {language}.dev.jsonl
    test: {language}.test.jsonl
  encoder: {encoder}
  training: {{epochs: 3, batch_size: 8, learning_rate: 2e-2}}
"""
ENDINGS = {"N": "o", "V": "at", "D": "el"}


def write_corpora(root: Path) -> None:
    """Sentences `D N V (D N)` whose words tell their tag by the ending; languages differ in their stems."""
    for language in ("aa", "bb", "cc"):
        for split, size in (("train", 80), ("dev", 10), ("test", 20)):
            chance = random.Random(f"{language}{split}")
            lines = []
            for _ in range(size):
                tags = ["D", "N", "V", *(["D", "N"] if chance.random() < 0.5 else [])]
                stems = [f"{language}{chance.randrange(40)}" for _ in tags]
                words = [stem + ENDINGS[tag] for stem, tag in zip(stems, tags, strict=True)]
                # Some words say nothing, so that context matters and nobody is perfect.
                words = [word if chance.random() < 0.8 else stem for word, stem in zip(words, stems, strict=True)]
                lines.append(json.dumps({"words": words, "tags": tags}))
            (root / f"{language}.{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def toy_recipe(root: Path, objective: str = "structural") -> Recipe:
    """The recipe over corpora that `write_corpora` wrote."""
    cards = "".join(CARD.format(language=language, encoder=ENCODER) for language in ("aa", "bb"))
    text = TEXT.format(root=root, teachers=cards, encoder=ENCODER, objective=objective)
    return parse_recipe(text, "toy")


def teacher_recipe(root: Path, teachers: str, more: str = "") -> Recipe:
    """A recipe with cards of one's own: one student, one seed, no controls; `more` are further sections."""
    text = TEXT.format(root=root, teachers=teachers, encoder=ENCODER, objective="structural")
    text = text.replace("seeds: [1, 2]", "seeds: [1]\ncontrols: []").replace("toy/pos", "toy/teachers")
    return parse_recipe(text + more, "toy")


AA, BB = (CARD.format(language=language, encoder=ENCODER) for language in ("aa", "bb"))


def card(name: str, **changes: str) -> str:
    """A trained card of language aa with its own keys."""
    more = "".join(f"  {key}: {value}\n" for key, value in changes.items())
    return AA.replace("toy/aa", f"toy/{name}") + more


def foreign_corpus(root: Path, name: str, rename: dict[str, str]) -> None:
    """The corpus of aa with some words tagged otherwise, in the training part a few X too."""
    for split in ("train", "dev", "test"):
        rows = [json.loads(line) for line in (root / f"aa.{split}.jsonl").read_text().splitlines()]
        for number, row in enumerate(rows):
            row["tags"] = [rename.get(tag, tag) for tag in row["tags"]]
            if number % 10 == 3:
                row["tags"][0] = "X"
        text = "\n".join(json.dumps(row) for row in rows)
        (root / f"{name}.{split}.jsonl").write_text(text + "\n", encoding="utf-8")


def annotate(root: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    """A file of annotations."""
    path = root / name
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path
