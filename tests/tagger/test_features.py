from __future__ import annotations

import torch

from structkd.tagger.features import WordFeaturizer, bucket, ngram_strings, word_shape


def test_hashes_are_the_same_on_every_machine() -> None:
    assert bucket("casa", 20_000) == 9405


def test_shape_keeps_case_digits_and_punctuation() -> None:
    assert word_shape("McDonald-3") == "XxXxx-d"
    assert word_shape("1984") == "dd"
    assert word_shape("東京") == "aa"


def test_ngrams_are_bounded_and_affixes_reach_further_than_ngrams() -> None:
    grams = ngram_strings("gatos", [1, 2, 3], 5)
    assert {"<ga", "os>", "^<gat", "tos>$"} <= set(grams)
    assert "^<ga" not in grams


def test_a_word_that_stands_twice_is_listed_once() -> None:
    featurizer = WordFeaturizer(ngram_buckets=50, ngram_orders=[1, 2], affix_length=4, word_buckets=10)
    batch = featurizer([["a", "b", "a"], ["b"]])
    assert len(batch["word_ids"]) == 2
    assert batch["word_index"].tolist() == [[0, 1, 0], [1, 0, 0]]
    assert batch["ngram_offsets"].tolist()[0] == 0
    assert torch.all(batch["ngram_ids"] < 50)
