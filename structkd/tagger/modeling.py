"""The tagger: an encoder of words, a linear layer and a CRF, saved as an ordinary Hugging Face model.

A teacher and the student are the same class. `CRFTagger.distribution` is what objectives and knowledge extraction
talk to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, PreTrainedModel
from transformers.utils import ModelOutput

from structkd.crf import CRF, LinearChainCRF
from structkd.labels import LabelSet, LegalTransitions, legal_transitions
from structkd.tagger.configuration import CRFTaggerConfig
from structkd.tagger.pieces import PieceWords, words_of_pieces
from structkd.tagger.pretrained import PretrainedEncoder
from structkd.tagger.recurrent import RecurrentEncoder


@dataclass
class CRFTaggerOutput(ModelOutput):
    """What `CRFTagger.forward` returns.

    loss: mean over sentences of -log p(labels), in nats; only with labels.
    logits: [B, T, C] log-marginals of the chain, 0 on padding; not computed in training. Where only pieces were
        given, [B, P, C]: each piece has the log-marginals of its word.
    emissions: [B, T, C] float32.
    mask: [B, T] bool.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    emissions: Tensor | None = None
    mask: Tensor | None = None


class CRFTagger(PreTrainedModel):
    """A sequence tagger whose head is a linear-chain CRF (or a softmax, the chain with zero transitions)."""

    config_class = CRFTaggerConfig
    config: CRFTaggerConfig
    base_model_prefix = "encoder"
    main_input_name = "mask"
    supports_gradient_checkpointing = False
    # log Z of a long sentence is off by hundreds of nats in half precision.
    _keep_in_fp32_modules_strict = {"emission", "crf"}  # noqa: RUF012

    def __init__(self, config: CRFTaggerConfig) -> None:
        super().__init__(config)
        kind = RecurrentEncoder if config.encoder["type"] == "recurrent" else PretrainedEncoder
        self.encoder: RecurrentEncoder | PretrainedEncoder = kind(config.encoder)
        num_tags = len(config.label_set)
        self.emission = nn.Linear(self.encoder.output_size, num_tags)
        self.crf = CRF(num_tags, batch_first=True, constraints=self._constraints())
        if config.head == "softmax":
            for parameter in self.crf.parameters():
                nn.init.zeros_(parameter)
                parameter.requires_grad_(False)
        self.post_init()

    @property
    def label_set(self) -> LabelSet:
        """The labels in the order of their ids."""
        return self.config.label_set

    def _constraints(self) -> LegalTransitions | None:
        return legal_transitions(self.config.label_set) if self.config.constrained else None

    def _init_weights(self, module: nn.Module) -> None:
        """Every module initialises itself; only what is not saved must be made again after loading."""
        legal = self._constraints()
        if isinstance(module, CRF) and legal is not None:
            for name, value in legal._asdict().items():
                getattr(module, f"constraint_{name}").copy_(value)

    def forward(
        self,
        mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        word_pieces: Tensor | None = None,
        piece_words: Tensor | None = None,
        ngram_ids: Tensor | None = None,
        ngram_offsets: Tensor | None = None,
        word_ids: Tensor | None = None,
        shape_ids: Tensor | None = None,
        word_index: Tensor | None = None,
        labels: Tensor | None = None,
        output_marginals: bool | None = None,
    ) -> CRFTaggerOutput:
        """Emissions of a batch of words; with labels the loss, outside training the log-marginals too.

        Args:
            mask: [B, T] bool, right-padded. None, with `input_ids` [B, P]: words are told from the pieces alone, as
                the stock token-classification pipeline needs it, and `logits` are by piece.
            labels: [B, T] label ids, -100 on padding; a word with -100 inside a sentence is marginalised.
            output_marginals: whether to compute `logits`; by default outside training.
            token_type_ids: ignored; there is one segment.
            others: what the model's batcher makes (`structkd.tagger.make_batcher`).
        """
        by_piece = mask is None
        if mask is None:
            mask, word_pieces, piece_words = self._words_of_pieces(input_ids, attention_mask)
        features: tuple[Tensor | None, ...] = (input_ids, attention_mask, word_pieces, piece_words)
        if isinstance(self.encoder, RecurrentEncoder):
            features = (ngram_ids, ngram_offsets, word_ids, shape_ids, word_index)
        emissions = self.emission(self.encoder(mask, *features).to(self.emission.weight.dtype))
        output = CRFTaggerOutput(emissions=emissions, mask=mask)
        if output_marginals is None:
            output_marginals = not self.training
        if labels is None and not output_marginals:
            return output
        distribution = self.distribution(output)
        if labels is not None:
            tags = labels.masked_fill(labels == -100, -1)
            output.loss = -distribution.log_prob_partial(tags).mean()
        if output_marginals:
            output.logits = distribution.marginals.clamp_min(1e-30).log() * mask.unsqueeze(-1)
            if by_piece and piece_words is not None:
                words = output.logits.reshape(-1, output.logits.shape[-1])
                output.logits = words[piece_words.clamp(min=0)] * (piece_words >= 0).unsqueeze(-1)
        return output

    def _words_of_pieces(self, input_ids: Tensor | None, attention_mask: Tensor | None) -> PieceWords:
        if not isinstance(self.encoder, PretrainedEncoder) or input_ids is None:
            raise ValueError("forward needs `mask` and what the tagger's batcher makes: structkd.tagger.make_batcher")
        attention_mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return words_of_pieces(input_ids, attention_mask, self.encoder.piece_kinds)

    def distribution(self, output: CRFTaggerOutput) -> LinearChainCRF:
        """The distribution over tag sequences of a batch that went through `forward`."""
        assert output.emissions is not None
        return self.crf.distribution(output.emissions, output.mask)


def register() -> None:
    """Make `AutoModelForTokenClassification.from_pretrained` know the tagger."""
    AutoConfig.register(CRFTaggerConfig.model_type, CRFTaggerConfig, exist_ok=True)
    AutoModel.register(CRFTaggerConfig, CRFTagger, exist_ok=True)
    AutoModelForTokenClassification.register(CRFTaggerConfig, CRFTagger, exist_ok=True)
