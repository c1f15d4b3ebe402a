"""A small valid recipe with one card, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

CARD = """\
language: en
task: pos
corpus: {title: UD English, format: conllu, tag_column: upos, train: a.conllu, test: b.conllu}
encoder: {type: recurrent, ngram_buckets: 100, ngram_dim: 8, hidden: 8, dropout: 0.1}
training: {epochs: 2, batch_size: 4, learning_rate: 1e-3}
"""
RECIPE = """\
name: mine/small
description: a small recipe
task: pos
labels: upos
teachers: [mine/en]
unseen:
  - {language: it, corpus: {format: conllu, test: it.conllu}}
student:
  encoder: {type: recurrent, ngram_buckets: 50, ngram_dim: 4, hidden: 4, dropout: 0.1}
  training: {epochs: 3, batch_size: 4, learning_rate: 1e-2}
objective: structural
seeds: [1, 2]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working folder with recipes/mine/small.yaml and teachers/mine/en.yaml."""
    for path, text in {"recipes/mine/small.yaml": RECIPE, "teachers/mine/en.yaml": CARD}.items():
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path
