from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest

from structkd.errors import DataError
from structkd.labels import UPOS, LabelSet


def test_upos_has_the_seventeen_universal_tags_once_each() -> None:
    assert len(UPOS) == len(set(UPOS)) == 17


def test_entities_come_after_o_type_by_type() -> None:
    assert LabelSet.for_entities(["PER", "LOC"]).tags == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    assert LabelSet.for_entities(["X"], "BIOES").tags == ("O", "B-X", "I-X", "E-X", "S-X")


def test_ids_and_decode_are_inverse() -> None:
    labels = LabelSet(UPOS)
    assert labels.ids(UPOS) == list(range(17))
    assert labels.decode(labels.ids(["VERB", "ADJ"])) == ["VERB", "ADJ"]
    assert labels.id("ADP") == 1
    assert "VERB" in labels
    assert "verb" not in labels


def test_unknown_tags_are_all_named_beside_the_known_ones() -> None:
    labels = LabelSet(["A", "B"])
    with pytest.raises(DataError, match=r"not in the label set: 'C', 'D'; it has A, B") as error:
        labels.ids(["A", "C", "D", "C"])
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("wrong", [-1, 2])
def test_an_id_outside_the_set_is_refused(wrong: int) -> None:
    with pytest.raises(DataError, match=r"expected 0..1"):
        LabelSet(["A", "B"]).decode([wrong])


def test_a_repeated_tag_an_empty_set_and_a_foreign_tag_are_refused() -> None:
    with pytest.raises(DataError, match="more than once: A"):
        LabelSet(["A", "B", "A"])
    with pytest.raises(DataError, match="at least one tag"):
        LabelSet([])
    with pytest.raises(DataError, match="'S-PER' is not a tag of the scheme IOB2"):
        LabelSet(["O", "S-PER"], "IOB2")


def test_a_label_set_survives_json_and_pickle_and_compares_by_value() -> None:
    labels = LabelSet.for_entities(["PER"], "BILOU")
    assert LabelSet.from_dict(json.loads(json.dumps(labels.to_dict()))) == labels
    assert pickle.loads(pickle.dumps(labels)) == labels
    assert hash(LabelSet(["A"])) == hash(LabelSet(("A",)))
    assert LabelSet(["O", "B-X"], "IOB2") != LabelSet(["O", "B-X"])


def test_label_sets_and_schemes_are_read_without_importing_torch() -> None:
    code = "import sys, structkd.labels as l; l.LabelSet(l.UPOS); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
