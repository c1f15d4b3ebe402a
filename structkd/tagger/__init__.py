"""Taggers: encoder + CRF head. Importing this room registers the tagger with the Hugging Face Auto classes."""

from structkd.tagger.batching import Batcher, LanguageBatcher, PretrainedBatcher, RecurrentBatcher, word_mask
from structkd.tagger.configuration import CRFTaggerConfig
from structkd.tagger.initialization import initialize_encoder
from structkd.tagger.modeling import CRFTagger, CRFTaggerOutput, register
from structkd.tagger.prediction import Tagger, create, distributions, length_batches, load, make_batcher, predict

register()

__all__ = [
    "Batcher",
    "CRFTagger",
    "CRFTaggerConfig",
    "CRFTaggerOutput",
    "LanguageBatcher",
    "PretrainedBatcher",
    "RecurrentBatcher",
    "Tagger",
    "create",
    "distributions",
    "initialize_encoder",
    "length_batches",
    "load",
    "make_batcher",
    "predict",
    "word_mask",
]
