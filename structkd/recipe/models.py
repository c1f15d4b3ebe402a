"""Sections that describe a tagger: its encoder and how it is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from structkd.recipe.spec import Count, Dropout, Fraction, Positive, Size, Spec


class RecurrentEncoderSpec(Spec):
    """A BiLSTM over hashed character n-grams, word shape and, by choice, hashed words; trained from scratch."""

    type: Literal["recurrent"] = Field(description="recurrent: a BiLSTM trained from scratch")
    ngram_buckets: Count = Field(description="hash buckets for character n-grams, prefixes and suffixes")
    ngram_dim: Count = Field(description="width of an n-gram embedding")
    ngram_orders: tuple[Count, ...] = Field((1, 2, 3, 4), description="lengths of the character n-grams")
    affix_length: Size = Field(6, description="longest prefix and suffix, in characters")
    word_buckets: Size = Field(0, description="hash buckets for whole words; 0: words are not embedded")
    word_dim: Size = Field(0, description="width of a word embedding")
    shape_dim: Size = Field(8, description="width of a word-shape embedding; 0: none")
    hidden: Count = Field(description="LSTM units in each direction")
    layers: Count = Field(1, description="LSTM layers")
    dropout: Dropout = Field(description="dropout on the input and the output of the LSTM")
    word_dropout: Dropout = Field(0.0, description="share of words whose features are all dropped in training")
    ngram_dropout: Dropout = Field(0.0, description="share of n-grams that are dropped in training")


class PretrainedEncoderSpec(Spec):
    """Any Hugging Face encoder; each word is represented by its first sub-token or the mean of them."""

    type: Literal["pretrained"] = Field(description="pretrained: a Hugging Face model")
    model: str = Field(min_length=1, description="hub id or path of a folder")
    revision: str | None = Field(None, description="commit of a hub id")
    pooling: Literal["first", "mean"] = Field("first", description="which sub-tokens stand for a word")
    frozen: bool = Field(False, description="true: the encoder is not trained")
    lstm_hidden: Count | None = Field(None, description="units of a BiLSTM above the encoder; null: none")
    dropout: Dropout = Field(0.1, description="dropout on the word vectors")
    layers: Count | None = Field(None, description="keep the first layers only; null: all")


EncoderSpec = Annotated[RecurrentEncoderSpec | PretrainedEncoderSpec, Field(discriminator="type")]


class TrainingSpec(Spec):
    """How a tagger is trained."""

    epochs: Count | None = Field(None, description="passes over the training sentences; or set max_steps")
    max_steps: Count | None = Field(None, description="optimiser steps; or set epochs")
    batch_size: Count | None = Field(None, description="sentences in a micro-batch; or set batch_tokens")
    batch_tokens: Count | None = Field(None, description="words in a micro-batch, about; goes before batch_size")
    learning_rate: Positive = Field(description="peak learning rate")
    crf_learning_rate: Positive | None = Field(None, description="of the CRF's transitions; null: learning_rate")
    weight_decay: float = Field(0.0, ge=0.0, description="decoupled weight decay")
    warmup_fraction: Fraction = Field(0.0, description="share of the steps in which the rate rises from 0")
    schedule: Literal["linear", "constant", "cosine"] = Field("linear", description="course of the rate after that")
    final_learning_rate_fraction: Fraction = Field(0.05, description="where linear and cosine end, of the peak")
    gradient_clip: Positive | None = Field(5.0, description="largest gradient norm; null: no clipping")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="optimiser")
    reduction: Literal["sentences", "tokens"] = Field(
        "sentences", description="the loss is the mean over the sentences, or over the words, of an optimiser step"
    )
    gradient_accumulation: Count = Field(1, description="micro-batches in an optimiser step")
    precision: Literal["float32", "bf16"] = Field("float32", description="of the encoder; the CRF is always float32")
    balance_exponent: Fraction = Field(
        1.0, description="languages are sampled by size to this power: 1 in proportion, 0 all alike"
    )
    checkpoint_steps: Count | None = Field(None, description="steps between checkpoints; null: every epoch")
