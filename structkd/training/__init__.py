"""Training of taggers: examples, sampling, the Trainer, checkpoints."""

from structkd.training.checkpoints import newest_checkpoint
from structkd.training.examples import Collator, Example, Examples
from structkd.training.sampling import LengthBatches
from structkd.training.settings import TrainingSettings
from structkd.training.trainer import TaggerTrainer, train

__all__ = [
    "Collator",
    "Example",
    "Examples",
    "LengthBatches",
    "TaggerTrainer",
    "TrainingSettings",
    "newest_checkpoint",
    "train",
]
