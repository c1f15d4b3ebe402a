"""Labels: the tags of a task, the schemes that write entities with them, and what may follow what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from structkd.labels.label_map import LabelMap
from structkd.labels.label_set import UPOS, LabelSet
from structkd.labels.schemes import SCHEMES, convert, repair, spans, violations

if TYPE_CHECKING:
    from structkd.labels.transitions import LegalTransitions, legal_transitions

__all__ = [
    "SCHEMES",
    "UPOS",
    "LabelMap",
    "LabelSet",
    "LegalTransitions",
    "convert",
    "legal_transitions",
    "repair",
    "spans",
    "violations",
]


def __getattr__(name: str) -> Any:
    # Reading a corpus needs schemes but no torch, which takes seconds to import.
    if name in ("LegalTransitions", "legal_transitions"):
        from structkd.labels import transitions

        return getattr(transitions, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
