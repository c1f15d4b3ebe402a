"""Which tag may follow which: the constraints of a scheme as boolean tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch

from structkd.labels.label_set import LabelSet
from structkd.labels.schemes import may_follow


class LegalTransitions(NamedTuple):
    """What a scheme allows, True where legal; C is the number of tags.

    Attributes:
        start: [C], the tag may open a sentence.
        transitions: [C, C], `transitions[i, j]`: tag j may follow tag i.
        end: [C], the tag may close a sentence.
    """

    start: torch.Tensor
    transitions: torch.Tensor
    end: torch.Tensor


def legal_transitions(label_set: LabelSet) -> LegalTransitions | None:
    """The transitions that a label set's scheme allows; None for a label set without a scheme (part of speech)."""
    scheme, tags = label_set.scheme, label_set.tags
    if scheme is None:
        return None
    return LegalTransitions(
        start=torch.tensor([may_follow(None, tag, scheme) for tag in tags], dtype=torch.bool),
        transitions=torch.tensor([[may_follow(a, b, scheme) for b in tags] for a in tags], dtype=torch.bool),
        end=torch.tensor([may_follow(tag, None, scheme) for tag in tags], dtype=torch.bool),
    )
