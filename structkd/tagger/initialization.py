"""A student that starts as the lower layers of a trained tagger."""

from __future__ import annotations

from typing import Any

from structkd.errors import DataError
from structkd.tagger.prediction import Tagger

# What an encoder's weights mean: with another value the same weights would read other features.
_FEATURES = ("type", "ngram_buckets", "ngram_orders", "affix_length", "word_buckets")


def initialize_encoder(student: Tagger, source: Tagger) -> None:
    """Copy what two encoders have in common: embeddings, and as many of the first layers as the student has.

    The emission layer and the transitions stay as they are. A BiLSTM above a pretrained encoder is new where the
    source has none.

    Raises:
        DataError: the source reads other features, lacks weights of the student's encoder, or has them in another
            shape; all are named.
    """
    own, other = student.model.config.encoder, source.model.config.encoder
    faults = [
        f"{name} is {_plain(other.get(name))}, expected {_plain(own.get(name))}"
        for name in _FEATURES
        if _plain(own.get(name)) != _plain(other.get(name))
    ]
    given = source.model.encoder.state_dict()
    wanted = student.model.encoder.state_dict()
    # A stack of a pretrained encoder's own kind may be put on top; below it nothing is left to chance.
    new = {name for name in wanted if name.startswith("lstm.") and not any(n.startswith("lstm.") for n in given)}
    for name in sorted(wanted.keys() - new):
        if name not in given:
            faults.append(f"{name} is missing")
        elif given[name].shape != wanted[name].shape:
            faults.append(f"{name} is {tuple(given[name].shape)}, expected {tuple(wanted[name].shape)}")
    if faults:
        listed = "; ".join(faults[:8]) + ("; ..." if len(faults) > 8 else "")
        raise DataError(f"the student's encoder cannot start from that tagger's: {listed}")
    student.model.encoder.load_state_dict({name: wanted[name] if name in new else given[name] for name in wanted})


def _plain(value: Any) -> Any:
    """Lists for tuples: a configuration that was saved has lists."""
    return list(value) if isinstance(value, tuple) else value
