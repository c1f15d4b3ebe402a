"""Taggers: encoder + CRF head. Importing this room registers the tagger with the Hugging Face Auto classes."""

from structkd.tagger.batching import Batcher, PretrainedBatcher, RecurrentBatcher, word_mask
from structkd.tagger.configuration import CRFTaggerConfig
from structkd.tagger.modeling import CRFTagger, CRFTaggerOutput, register
from structkd.tagger.prediction import Tagger, create, distributions, length_batches, load, make_batcher, predict

register()

__all__ = [
    "Batcher",
    "CRFTagger",
    "CRFTaggerConfig",
    "CRFTaggerOutput",
    "PretrainedBatcher",
    "RecurrentBatcher",
    "Tagger",
    "create",
    "distributions",
    "length_batches",
    "load",
    "make_batcher",
    "predict",
    "word_mask",
]
