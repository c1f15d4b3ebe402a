"""Taggers: encoder + CRF head. Importing this room registers the tagger with the Hugging Face Auto classes."""

from structkd.tagger.batching import Batcher, PretrainedBatcher, RecurrentBatcher, word_mask
from structkd.tagger.configuration import CRFTaggerConfig
from structkd.tagger.modeling import CRFTagger, CRFTaggerOutput, register
from structkd.tagger.prediction import (
    ForeignTagger,
    Tagger,
    WordTagger,
    create,
    distributions,
    length_batches,
    load,
    load_any,
    make_batcher,
    predict,
    read_labels,
)
from structkd.tagger.token_classifier import TokenClassifier, label_set_of

register()

__all__ = [
    "Batcher",
    "CRFTagger",
    "CRFTaggerConfig",
    "CRFTaggerOutput",
    "ForeignTagger",
    "PretrainedBatcher",
    "RecurrentBatcher",
    "Tagger",
    "TokenClassifier",
    "WordTagger",
    "create",
    "distributions",
    "label_set_of",
    "length_batches",
    "load",
    "load_any",
    "make_batcher",
    "predict",
    "read_labels",
    "word_mask",
]
