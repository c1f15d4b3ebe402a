"""A student that starts as the first layers of a teacher."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from structkd.errors import DataError
from structkd.labels import LabelSet
from structkd.tagger import create, initialize_encoder
from tests.tagger.tiny_models import tiny_bert

LABELS = LabelSet(["A", "B", "C"])
RECURRENT = {"type": "recurrent", "ngram_buckets": 97, "ngram_dim": 6, "hidden": 5}


def test_a_recurrent_student_takes_the_embeddings_and_the_first_layers() -> None:
    teacher = create({**RECURRENT, "layers": 2}, LABELS)
    student = create({**RECURRENT, "layers": 1}, LabelSet(["X", "Y"]))
    emission = student.model.emission.weight.clone()
    initialize_encoder(student, teacher)
    given = teacher.model.encoder.state_dict()
    for name, value in student.model.encoder.state_dict().items():
        assert torch.equal(value, given[name]), name
    assert torch.equal(student.model.emission.weight, emission)
    with torch.no_grad():
        student.model.encoder.ngrams.weight.zero_()
    assert teacher.model.encoder.ngrams.weight.abs().sum() > 0, "weights are copied, not shared"


def test_a_pretrained_student_takes_the_first_layers_below_a_new_lstm(tmp_path: Path) -> None:
    encoder = {"type": "pretrained", "model": str(tiny_bert(tmp_path, layers=2))}
    teacher = create(encoder, LABELS)
    with torch.no_grad():
        for parameter in teacher.model.encoder.parameters():
            parameter.add_(0.5)
    student = create({**encoder, "layers": 1, "frozen": True, "lstm_hidden": 4}, LABELS)
    lstm = {name: value.clone() for name, value in student.model.encoder.lstm.state_dict().items()}
    initialize_encoder(student, teacher)
    own, given = student.model.encoder.backbone.state_dict(), teacher.model.encoder.backbone.state_dict()
    assert len(student.model.encoder.backbone.encoder.layer) == 1
    assert all(torch.equal(own[name], given[name]) for name in own)
    assert all(torch.equal(lstm[name], value) for name, value in student.model.encoder.lstm.state_dict().items())
    assert not any(parameter.requires_grad for parameter in student.model.encoder.backbone.parameters())


def test_weights_that_do_not_fit_are_named() -> None:
    teacher = create(RECURRENT, LABELS)
    with pytest.raises(DataError, match=r"right_to_left\.1.*is missing"):
        initialize_encoder(create({**RECURRENT, "layers": 2}, LABELS), teacher)
    with pytest.raises(DataError, match=r"affix_length is 6, expected 3"):
        initialize_encoder(create({**RECURRENT, "affix_length": 3}, LABELS), teacher)
    with pytest.raises(DataError, match=r"ngrams\.weight is \(97, 6\), expected \(97, 7\)"):
        initialize_encoder(create({**RECURRENT, "ngram_dim": 7}, LABELS), teacher)
