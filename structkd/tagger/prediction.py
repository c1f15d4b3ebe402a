"""Make, load, save and ask taggers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase

from structkd.crf import LinearChainCRF
from structkd.errors import DataError
from structkd.labels import LabelSet
from structkd.storage import read_json
from structkd.tagger.batching import Batcher, PretrainedBatcher, RecurrentBatcher
from structkd.tagger.configuration import CRFTaggerConfig
from structkd.tagger.modeling import CRFTagger
from structkd.tagger.pretrained import PretrainedEncoder, check_model_name, load_backbone
from structkd.tagger.token_classifier import TokenClassifier, label_set_of, load_token_classifier


class WordTagger(Protocol):
    """What can be asked about words: a tagger, or a token classifier of another maker."""

    @property
    def model(self) -> CRFTagger | TokenClassifier:
        """Turns what the batcher makes into emissions, and these into a distribution."""

    @property
    def batcher(self) -> Batcher:
        """Turns sentences into the arguments of the model."""

    @property
    def labels(self) -> LabelSet:
        """The labels in the order of their ids."""


class Tagger(NamedTuple):
    """A model and the batcher that feeds it."""

    model: CRFTagger
    batcher: Batcher
    tokenizer: PreTrainedTokenizerBase | None

    @property
    def labels(self) -> LabelSet:
        """The labels in the order of their ids."""
        return self.model.label_set

    def to(self, device: str) -> Tagger:
        """Move the model to a device, in place."""
        nn.Module.to(self.model, device)
        return self

    def save(self, directory: str | Path) -> None:
        """Write model, configuration and tokenizer: a folder that `from_pretrained` reads."""
        self.model.save_pretrained(directory)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(directory)


class ForeignTagger(NamedTuple):
    """A token classifier of another maker and the batcher that feeds it."""

    model: TokenClassifier
    batcher: Batcher

    @property
    def labels(self) -> LabelSet:
        """The labels in the order of their ids."""
        return self.model.label_set


def create(encoder: dict[str, Any], labels: LabelSet, *, head: str = "crf", constrained: bool = True) -> Tagger:
    """A tagger that is not trained yet; a pretrained encoder brings its weights along.

    Raises:
        DataError: the pretrained model is a local path that does not exist.
    """
    tokenizer = None
    backbone = None
    if encoder.get("type") == "pretrained":
        backbone = load_backbone(encoder)
        tokenizer = AutoTokenizer.from_pretrained(check_model_name(encoder["model"]), revision=encoder.get("revision"))
        encoder = {**encoder, "config": backbone.config.to_dict()}
    config = CRFTaggerConfig.for_labels(labels, encoder=encoder, head=head, constrained=constrained)
    model = CRFTagger(config)
    if backbone is not None and tokenizer is not None:
        assert isinstance(model.encoder, PretrainedEncoder)
        model.encoder.backbone = backbone
        model.encoder.freeze()
        model.encoder.learn_pieces(tokenizer)
    return Tagger(model, make_batcher(config, tokenizer), tokenizer)


def load(directory: str | Path) -> Tagger:
    """A tagger that `Tagger.save` wrote.

    Raises:
        DataError: there is no tagger in the folder.
    """
    path = Path(directory)
    if not (path / "config.json").is_file():
        raise DataError(f"no tagger at {path}: expected a folder with config.json and model.safetensors")
    model: CRFTagger
    report: dict[str, Any]
    model, report = CRFTagger.from_pretrained(path, output_loading_info=True)  # type: ignore[misc]
    if report["missing_keys"]:
        raise DataError(f"{path}: the weights lack {', '.join(sorted(report['missing_keys']))}")
    model.eval()
    pretrained = model.config.encoder["type"] == "pretrained"
    tokenizer = AutoTokenizer.from_pretrained(path) if pretrained else None
    return Tagger(model, make_batcher(model.config, tokenizer), tokenizer)


def load_any(directory: str | Path, *, scheme: str | None = None, device: str = "cpu") -> WordTagger:
    """A tagger that `Tagger.save` wrote, or any other Hugging Face token classifier.

    Args:
        scheme: of the labels of a classifier whose prefixes do not tell (IOB1); see `label_set_of`.

    Raises:
        DataError: there is no such folder, or its weights are not complete.
    """
    path = _folder_of_model(directory)
    if read_json(path / "config.json").get("model_type") == CRFTaggerConfig.model_type:
        return load(path).to(device)
    model = load_token_classifier(path, scheme)
    nn.Module.to(model, device)
    # Some tokenizers take words only where each may begin with a blank.
    tokenizer = AutoTokenizer.from_pretrained(path, add_prefix_space=True)
    limit = piece_limit(model.model.config.to_dict())
    return ForeignTagger(model, PretrainedBatcher(tokenizer, limit))


def read_labels(directory: str | Path, *, scheme: str | None = None) -> LabelSet:
    """The labels of a folder that `load_any` can load, without loading the weights."""
    path = _folder_of_model(directory)
    config = AutoConfig.from_pretrained(path)
    if isinstance(config, CRFTaggerConfig):
        return config.label_set
    return label_set_of(config.id2label, scheme, str(path))


def _folder_of_model(directory: str | Path) -> Path:
    path = Path(directory)
    if not (path / "config.json").is_file():
        raise DataError(
            f"no tagger at {path}: expected a folder with config.json, weights and, for pieces, a tokenizer"
        )
    return path


def make_batcher(config: CRFTaggerConfig, tokenizer: PreTrainedTokenizerBase | None) -> Batcher:
    """The batcher that fits an encoder."""
    if tokenizer is None:
        return RecurrentBatcher(config.encoder)
    return PretrainedBatcher(tokenizer, piece_limit(config.encoder["config"]))


def piece_limit(config: dict[str, Any]) -> int | None:
    """The pieces that a transformer can read at a time; None where its configuration does not say."""
    limit: int | None = config.get("max_position_embeddings")
    # RoBERTa counts positions from the padding id on, so two of its 514 cannot be used.
    offset = 2 if "roberta" in config["model_type"] else 0
    return limit - offset if limit else None


def length_batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Indices of sentences in batches of similar length, longest first."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def distributions(
    tagger: WordTagger,
    sentences: Sequence[Sequence[str]],
    *,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[list[int], LinearChainCRF]]:
    """The distribution over tag sequences of every sentence, batch by batch, without gradients.

    Yields:
        The indices of the sentences of a batch, and the batch's distribution on the model's device.
    """
    device = tagger.model.device
    tagger.model.eval()
    done = 0
    for indices in length_batches([len(words) for words in sentences], batch_size):
        inputs = {name: value.to(device) for name, value in tagger.batcher([sentences[i] for i in indices]).items()}
        with torch.no_grad():
            output = tagger.model(**inputs, output_marginals=False)
            yield indices, tagger.model.distribution(output)
        done += len(indices)
        if progress is not None:
            progress(done, len(sentences))


def predict(tagger: Tagger, sentences: Sequence[Sequence[str]], *, batch_size: int = 64) -> list[list[str]]:
    """The most probable tag sequence of each sentence."""
    names = tagger.labels.tags
    predicted: list[list[str]] = [[] for _ in sentences]
    for indices, distribution in distributions(tagger, sentences, batch_size=batch_size):
        for index, tags in zip(indices, distribution.argmax.tags.tolist(), strict=True):
            predicted[index] = [names[tag] for tag in tags[: len(sentences[index])]]
    return predicted
