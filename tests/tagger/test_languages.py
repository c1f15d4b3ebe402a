"""Transitions by language: used, saved, and shared where a language is not known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from structkd.labels import LabelSet
from structkd.tagger import Tagger, create, distributions, load, predict

LABELS = LabelSet(["A", "B", "C"])
ENCODER = {"type": "recurrent", "ngram_buckets": 97, "ngram_dim": 6, "hidden": 5}
SENTENCES = [["la", "casa"], ["la", "casa"], ["la", "casa"], ["la", "casa"]]
LANGUAGES = ["es", "fr", "xx", "es"]


@pytest.fixture
def tagger() -> Tagger:
    torch.manual_seed(0)
    made = create(ENCODER, LABELS, languages=["es", "fr"])
    torch.nn.init.normal_(made.model.crf.language_transitions, std=3.0)
    return made


def log_partitions(tagger: Tagger, languages: list[str] | None) -> list[float]:
    found: dict[int, float] = {}
    for indices, chain in distributions(tagger, SENTENCES, languages=languages):
        found.update(zip(indices, chain.log_partition.tolist(), strict=True))
    return [found[i] for i in range(len(SENTENCES))]


def test_each_language_has_its_own_transitions_and_unknown_ones_their_mean(tagger: Tagger) -> None:
    spanish, french, unknown, again = log_partitions(tagger, LANGUAGES)
    assert spanish == pytest.approx(again)
    assert abs(spanish - french) > 1e-2
    crf = tagger.model.crf
    with torch.no_grad():
        own = crf.transitions + crf.language_transitions - crf.language_transitions.mean(0)
    torch.testing.assert_close(own.mean(0), crf.transitions.detach(), rtol=1e-5, atol=1e-6)
    shared = log_partitions(tagger, None)
    assert shared == pytest.approx([unknown] * 4)


def test_transitions_by_language_are_saved_and_loaded(tagger: Tagger, tmp_path: Path) -> None:
    tagger.save(tmp_path)
    again = load(tmp_path)
    assert again.model.config.languages == ["es", "fr"]
    assert log_partitions(again, LANGUAGES) == pytest.approx(log_partitions(tagger, LANGUAGES), abs=1e-6)
    assert predict(again, SENTENCES, languages=LANGUAGES) == predict(tagger, SENTENCES, languages=LANGUAGES)


def test_a_model_without_them_takes_languages_and_ignores_them() -> None:
    torch.manual_seed(0)
    made = create(ENCODER, LABELS)
    assert "languages" not in made.batcher(SENTENCES, LANGUAGES)
    assert log_partitions(made, LANGUAGES) == log_partitions(made, None)
