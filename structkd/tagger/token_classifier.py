"""Token classifiers of other makers: any `AutoModelForTokenClassification` folder as a tagger of words.

Their softmax head is a chain whose transitions are all zero. A word takes the scores of its first sub-token.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification, PreTrainedModel

from structkd.crf import LinearChainCRF
from structkd.errors import DataError
from structkd.labels import LabelSet
from structkd.labels.schemes import split_tag
from structkd.tagger.modeling import CRFTaggerOutput


class TokenClassifier(nn.Module):
    """A Hugging Face token classifier that answers like a `CRFTagger`; it is asked, never trained.

    Args:
        model: with a configuration that names its labels.
        labels: its labels in the order of its ids.
    """

    def __init__(self, model: PreTrainedModel, labels: LabelSet) -> None:
        super().__init__()
        self.model = model
        self.label_set = labels

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def forward(
        self,
        mask: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        word_pieces: Tensor,
        piece_words: Tensor,
        output_marginals: bool | None = None,
    ) -> CRFTaggerOutput:
        """Emissions [B, T, C] of words; the arguments are what `PretrainedBatcher` makes."""
        logits = self.model(input_ids=input_ids, attention_mask=attention_mask).logits.float()
        return CRFTaggerOutput(emissions=logits.reshape(-1, logits.shape[-1])[word_pieces], mask=mask)

    def distribution(self, output: CRFTaggerOutput) -> LinearChainCRF:
        """The chain with zero transitions whose marginals are the softmax of the emissions."""
        assert output.emissions is not None
        assert output.mask is not None
        emissions = output.emissions
        zeros = emissions.new_zeros(emissions.shape[-1])
        return LinearChainCRF(emissions, torch.outer(zeros, zeros), zeros, zeros, output.mask.sum(1))

    def save_pretrained(self, directory: str | Path) -> None:
        """Write the model as it came."""
        self.model.save_pretrained(directory)


def load_token_classifier(directory: Path, scheme: str | None = None) -> TokenClassifier:
    """A token classifier from its folder.

    Args:
        scheme: of its labels; None: told by their prefixes (see `label_set_of`).

    Raises:
        DataError: the weights of the head are missing, or the labels are not of the scheme.
    """
    report: dict[str, Any]
    model: PreTrainedModel
    model, report = AutoModelForTokenClassification.from_pretrained(directory, output_loading_info=True)
    if report["missing_keys"]:
        raise DataError(
            f"{directory} is no trained token classifier: the weights lack {', '.join(sorted(report['missing_keys']))}"
        )
    model.eval()
    return TokenClassifier(model, label_set_of(model.config.id2label or {}, scheme, str(directory)))


def label_set_of(id2label: Mapping[Any, str], scheme: str | None, where: str) -> LabelSet:
    """The labels that a configuration names, in the order of their ids.

    Args:
        scheme: None: BIOES or BILOU where a prefix says so, IOB2 where all labels are O, B-X or I-X (IOB1 looks the
            same and has to be said), and no scheme for labels that are not written so.
    """
    names = {int(index): tag for index, tag in id2label.items()}
    if sorted(names) != list(range(len(names))):
        raise DataError(f"{where}: id2label has the ids {sorted(names)}, expected 0..{len(names) - 1}")
    tags = [names[index] for index in range(len(names))]
    if scheme is not None:
        return LabelSet(tags, scheme)
    written = (candidate for candidate in ("IOB2", "BIOES", "BILOU") if "O" in tags and _is_written_in(candidate, tags))
    return LabelSet(tags, next(written, None))


def _is_written_in(scheme: str, tags: list[str]) -> bool:
    try:
        return all(split_tag(tag, scheme) for tag in tags)
    except DataError:
        return False
