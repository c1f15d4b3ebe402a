"""Configuration of a CRF tagger, saved as an ordinary Hugging Face `config.json`."""

from __future__ import annotations

from typing import Any

from transformers import PretrainedConfig

from structkd.labels import LabelSet

RECURRENT_DEFAULTS: dict[str, Any] = {
    "type": "recurrent",
    "ngram_buckets": 20_000,
    "ngram_dim": 32,
    "ngram_orders": [1, 2, 3, 4],
    "affix_length": 6,
    "word_buckets": 0,
    "word_dim": 0,
    "shape_dim": 8,
    "hidden": 32,
    "layers": 1,
    "dropout": 0.15,
    "word_dropout": 0.0,
    "ngram_dropout": 0.0,
}
PRETRAINED_DEFAULTS: dict[str, Any] = {
    "type": "pretrained",
    "model": None,
    "revision": None,
    "pooling": "first",
    "frozen": False,
    "lstm_hidden": None,
    "layers": None,
    "dropout": 0.1,
    "config": None,
}


class CRFTaggerConfig(PretrainedConfig):
    """An encoder of words and a structured head.

    Args:
        encoder: what makes word vectors; `type: recurrent` or `type: pretrained` (with its model's `config`).
        head: `crf`, or `softmax`: the same chain with all transitions zero.
        scheme: the span scheme of the labels (`IOB2`, ...); None for tags that stand alone, such as UPOS.
        constrained: forbid tag pairs that the scheme does not allow, in training and in decoding.
        languages: those that have transitions of their own, in the order of their ids; None: all share one matrix.
    """

    model_type = "structkd-crf-tagger"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        head: str = "crf",
        scheme: str | None = None,
        constrained: bool = True,
        languages: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        given = dict(encoder or {})
        kind = given.get("type", "recurrent")
        if kind not in ("recurrent", "pretrained"):
            raise ValueError(f"encoder type is {kind!r}; expected 'recurrent' or 'pretrained'")
        defaults = RECURRENT_DEFAULTS if kind == "recurrent" else PRETRAINED_DEFAULTS
        unknown = sorted(set(given) - set(defaults))
        if unknown:
            raise ValueError(f"a {kind} encoder has no {', '.join(unknown)}; it has {', '.join(defaults)}")
        if head not in ("crf", "softmax"):
            raise ValueError(f"head is {head!r}; expected 'crf' or 'softmax'")
        self.encoder = {**defaults, **given}
        self.head = head
        self.scheme = scheme
        self.constrained = constrained
        self.languages = languages
        super().__init__(**kwargs)

    @property
    def label_set(self) -> LabelSet:
        """The labels in the order of their ids, with their scheme."""
        names: dict[int, str] = {int(index): tag for index, tag in (self.id2label or {}).items()}
        return LabelSet([names[index] for index in range(len(names))], self.scheme)

    @classmethod
    def for_labels(cls, labels: LabelSet, **kwargs: Any) -> CRFTaggerConfig:
        """A configuration for a label set."""
        names = dict(enumerate(labels.tags))
        return cls(id2label=names, label2id={tag: i for i, tag in names.items()}, scheme=labels.scheme, **kwargs)
