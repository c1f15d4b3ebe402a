from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification

from structkd.errors import DataError
from structkd.labels import LabelSet
from structkd.tagger import CRFTagger, CRFTaggerConfig, Tagger, create, load, predict
from structkd.tagger.batching import PretrainedBatcher
from tests.tagger.tiny_models import tiny_bert

RECURRENT: dict[str, Any] = {"type": "recurrent", "ngram_buckets": 64, "ngram_dim": 8, "hidden": 6, "dropout": 0.0}
ENTITIES = LabelSet.for_entities(["PER", "LOC"])
SENTENCES = [["la", "casa", "verdes", "."], ["grandes"], ["es", "la", "casa"]]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


def tagger(kind: str, bert: Path, **options: Any) -> Tagger:
    torch.manual_seed(1)
    encoder = RECURRENT if kind == "recurrent" else {"type": "pretrained", "model": str(bert), **options}
    made = create(encoder, ENTITIES)
    made.model.eval()
    # Random potentials would make every sentence's best path the same.
    torch.nn.init.normal_(made.model.emission.weight, std=3.0)
    return made


@pytest.mark.parametrize("kind", ["recurrent", "pretrained"])
def test_a_saved_tagger_loads_with_equal_distributions(kind: str, bert: Path, tmp_path: Path) -> None:
    made = tagger(kind, bert)
    made.save(tmp_path)
    again = load(tmp_path)
    assert again.labels == ENTITIES
    with torch.no_grad():
        first = made.model(**made.batcher(SENTENCES))
        second = again.model(**again.batcher(SENTENCES))
    torch.testing.assert_close(first.logits, second.logits)
    assert predict(made, SENTENCES) == predict(again, SENTENCES)


def test_the_auto_class_loads_a_tagger_with_its_constraints(bert: Path, tmp_path: Path) -> None:
    made = tagger("recurrent", bert)
    made.save(tmp_path)
    model = AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    assert isinstance(model, CRFTagger)
    with torch.no_grad():
        torch.testing.assert_close(
            model(**made.batcher(SENTENCES)).logits, made.model(**made.batcher(SENTENCES)).logits
        )


@pytest.mark.parametrize("kind", ["recurrent", "pretrained"])
def test_predictions_never_break_the_scheme(kind: str, bert: Path) -> None:
    made = tagger(kind, bert)
    with torch.no_grad():
        made.model.emission.bias[ENTITIES.id("I-PER")] = 50.0
    for tags in predict(made, SENTENCES):
        assert not tags[0].startswith("I-")


@pytest.mark.parametrize("kind", ["recurrent", "pretrained"])
def test_a_sentence_is_tagged_the_same_alone_and_in_a_batch(kind: str, bert: Path) -> None:
    made = tagger(kind, bert)
    with torch.no_grad():
        together = made.model(**made.batcher(SENTENCES)).emissions
        for row, words in enumerate(SENTENCES):
            alone = made.model(**made.batcher([words])).emissions
            torch.testing.assert_close(together[row, : len(words)], alone[0], atol=1e-5, rtol=1e-5)


def test_logits_are_log_marginals(bert: Path) -> None:
    made = tagger("recurrent", bert)
    with torch.no_grad():
        output = made.model(**made.batcher(SENTENCES))
    torch.testing.assert_close(output.logits[0].exp().sum(-1), torch.ones(4))
    assert output.logits[1, 1:].abs().sum() == 0


def test_loss_is_the_mean_negative_log_likelihood_of_the_labels(bert: Path) -> None:
    made = tagger("recurrent", bert)
    labels = torch.tensor([[0, 1, 2, 0], [3, -100, -100, -100], [0, 0, 1, -100]])
    output = made.model(**made.batcher(SENTENCES), labels=labels)
    distribution = made.model.distribution(output)
    expected = -distribution.log_prob(labels.masked_fill(labels == -100, -1)).mean()
    torch.testing.assert_close(output.loss, expected)


def test_a_softmax_head_is_a_chain_without_transitions(bert: Path) -> None:
    made = create(RECURRENT, LabelSet(["A", "B"]), head="softmax")
    made.model.eval()
    output = made.model(**made.batcher([["x", "y"]]))
    torch.testing.assert_close(output.logits, output.emissions.log_softmax(-1), atol=1e-5, rtol=1e-5)
    assert not any(parameter.requires_grad for parameter in made.model.crf.parameters())


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_words_are_pooled_from_their_own_pieces(pooling: str, bert: Path) -> None:
    made = tagger("pretrained", bert, pooling=pooling)
    batch = made.batcher([["casa", "verdes", "."]])
    pieces = made.tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
    assert pieces == ["[CLS]", "casa", "ver", "##de", "##s", ".", "[SEP]"]
    assert batch["word_pieces"].tolist() == [[1, 2, 5]]
    assert batch["piece_words"].tolist() == [[-1, 0, 1, 1, 1, 2, -1]]
    with torch.no_grad():
        hidden = made.model.encoder.backbone(batch["input_ids"], batch["attention_mask"]).last_hidden_state[0]
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "word_pieces", "piece_words")}
        words = made.model.encoder(batch["mask"], **inputs)[0]
    expected = hidden[2] if pooling == "first" else hidden[2:5].mean(0)
    torch.testing.assert_close(words[1], expected, atol=1e-6, rtol=1e-5)


def test_a_sentence_longer_than_the_model_reads_loses_no_word(bert: Path) -> None:
    made = tagger("pretrained", bert)
    assert isinstance(made.batcher, PretrainedBatcher)
    words = ["verdes", "casa"] * 40
    batch = made.batcher([words, ["la"]])
    assert batch["input_ids"].shape[1] <= 64
    assert batch["input_ids"].shape[0] > 2
    flat = batch["input_ids"].reshape(-1)[batch["word_pieces"][0]]
    assert made.tokenizer.convert_ids_to_tokens(flat) == ["ver", "casa"] * 40
    assert [len(tags) for tags in predict(made, [words, ["la"]])] == [80, 1]


def test_a_frozen_encoder_gets_no_gradient(bert: Path) -> None:
    made = tagger("pretrained", bert, frozen=True, lstm_hidden=4)
    made.model.train()
    labels = torch.tensor([[0, 1, 2, 0], [3, -100, -100, -100], [0, 0, 1, -100]])
    made.model(**made.batcher(SENTENCES), labels=labels).loss.backward()
    assert all(parameter.grad is None for parameter in made.model.encoder.backbone.parameters())
    assert made.model.encoder.lstm.left_to_right[0].weight_ih_l0.grad.abs().sum() > 0


def test_the_first_layers_of_a_model_can_be_kept(bert: Path) -> None:
    whole, first = tagger("pretrained", bert), tagger("pretrained", bert, layers=1)
    assert len(first.model.encoder.backbone.encoder.layer) == 1
    torch.testing.assert_close(
        first.model.encoder.backbone.encoder.layer[0].output.dense.weight,
        whole.model.encoder.backbone.encoder.layer[0].output.dense.weight,
    )


def test_a_mistyped_local_path_is_refused_at_once() -> None:
    with pytest.raises(DataError, match=r"no model at \./xlmr"):
        create({"type": "pretrained", "model": "./xlmr"}, ENTITIES)


def test_a_folder_without_a_tagger_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config\.json"):
        load(tmp_path)


def test_an_unknown_encoder_option_is_named() -> None:
    with pytest.raises(ValueError, match="has no hiden"):
        CRFTaggerConfig(encoder={"type": "recurrent", "hiden": 3})
