from __future__ import annotations

import itertools

import pytest
import torch

from structkd.labels import SCHEMES, UPOS, LabelSet, legal_transitions, violations


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_path_is_legal_exactly_when_the_scheme_finds_no_violation(scheme: str) -> None:
    labels = LabelSet.for_entities(["PER", "LOC"], scheme)
    legal = legal_transitions(labels)
    assert legal is not None
    assert all(part.dtype == torch.bool for part in legal)
    for ids in itertools.product(range(len(labels)), repeat=3):
        steps = [legal.transitions[a, b] for a, b in itertools.pairwise(ids)]
        allowed = bool(legal.start[ids[0]]) and all(steps) and bool(legal.end[ids[-1]])
        assert allowed == (violations(labels.decode(ids), scheme) == [])


def test_tags_without_a_scheme_have_no_constraints() -> None:
    assert legal_transitions(LabelSet(UPOS)) is None


def test_iob2_forbids_inside_after_nothing_and_nothing_else() -> None:
    legal = legal_transitions(LabelSet.for_entities(["X"]))
    assert legal is not None
    assert legal.start.tolist() == [True, True, False]
    assert legal.transitions.tolist() == [[True, True, False], [True] * 3, [True] * 3]
    assert legal.end.tolist() == [True] * 3
