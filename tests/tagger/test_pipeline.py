from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import pipeline

from structkd.labels import LabelSet
from structkd.tagger import Tagger, create, predict
from structkd.tagger.pieces import words_of_pieces
from tests.tagger.tiny_models import tiny_bert

LABELS = LabelSet.for_entities(["PER", "LOC"])


@pytest.fixture
def tagger(tmp_path: Path) -> Tagger:
    torch.manual_seed(2)
    made = create({"type": "pretrained", "model": str(tiny_bert(tmp_path / "bert"))}, LABELS)
    torch.nn.init.normal_(made.model.emission.weight, std=3.0)
    made.model.eval()
    made.save(tmp_path / "tagger")
    return made


def test_the_stock_pipeline_shows_the_marginals_of_the_chain(tagger: Tagger, tmp_path: Path) -> None:
    words = ["la", "casa", "verdes", "es", "grandes"]
    stock = pipeline("token-classification", model=str(tmp_path / "tagger"), aggregation_strategy="none")
    found = stock(" ".join(words), ignore_labels=[])
    assert [entry["word"] for entry in found] == ["la", "casa", "ver", "##de", "##s", "es", "gran", "##de", "##s"]
    with torch.no_grad():
        marginals = tagger.model(**tagger.batcher([words])).logits[0].exp()
    best = marginals.max(-1)
    for entry, word in zip(found, [0, 1, 2, 2, 2, 3, 4, 4, 4], strict=True):
        assert entry["entity"] == LABELS.tags[best.indices[word]]
        assert entry["score"] == pytest.approx(float(best.values[word]), abs=1e-5)


def test_words_told_from_pieces_are_those_of_the_batcher(tagger: Tagger) -> None:
    batch = tagger.batcher([["la", "casa", "verdes"], ["grandes"]])
    told = words_of_pieces(batch["input_ids"], batch["attention_mask"], tagger.model.encoder.piece_kinds)
    assert torch.equal(told.mask, batch["mask"])
    assert torch.equal(told.piece_words, batch["piece_words"])
    assert torch.equal(told.word_pieces[told.mask], batch["word_pieces"][batch["mask"]])


def test_padding_of_a_row_does_not_change_its_tags(tagger: Tagger) -> None:
    assert predict(tagger, [["la"], ["la", "casa", "verdes"]])[0] == predict(tagger, [["la"]])[0]


def test_a_recurrent_tagger_says_what_it_needs() -> None:
    made = create({"type": "recurrent", "ngram_buckets": 9, "ngram_dim": 2, "hidden": 2}, LABELS)
    with pytest.raises(ValueError, match="make_batcher"):
        made.model(input_ids=torch.zeros(1, 2, dtype=torch.long))
