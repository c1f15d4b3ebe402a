"""How long and how fast a tagger trains: the plain arguments of `train`, as recipes spell them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class TrainingSettings:
    """Optimiser, schedule and length of a training run."""

    epochs: float = 5.0
    max_steps: int | None = None  # optimiser steps; overrides epochs
    batch_size: int = 32  # sentences of a micro-batch on one process
    batch_tokens: int | None = None  # its words, about; takes the place of batch_size
    learning_rate: float = 8e-3
    crf_learning_rate: float | None = None  # of the CRF's transitions; None: the same
    weight_decay: float = 0.0
    warmup_fraction: float = 0.0
    schedule: str = "linear"  # linear | cosine | constant
    final_learning_rate_fraction: float = 0.05
    gradient_clip: float = 5.0
    optimizer: str = "adamw"  # adamw | sgd
    gradient_accumulation: int = 1
    reduction: str = "sentences"  # sentences | tokens: what the loss of an optimiser step is the mean over
    precision: str = "float32"  # float32 | bf16
    balance_exponent: float = 1.0
    checkpoint_steps: int | None = None  # None: at the end of every epoch


def parameter_groups(model: nn.Module, settings: TrainingSettings) -> list[dict[str, object]]:
    """Parameters that train: matrices with weight decay, vectors without, the CRF at its own rate without."""
    crf: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if name.startswith("crf."):
            crf.append(parameter)
        else:
            (matrices if parameter.ndim > 1 else vectors).append(parameter)
    rate = settings.learning_rate
    return [
        {"params": group, "lr": lr, "weight_decay": decay}
        for group, lr, decay in (
            (matrices, rate, settings.weight_decay),
            (vectors, rate, 0.0),
            (crf, settings.crf_learning_rate or rate, 0.0),
        )
        if group
    ]


def make_optimizer(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """The optimiser over `parameter_groups`."""
    groups = parameter_groups(model, settings)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)


def learning_rate_factor(step: int, total: int, settings: TrainingSettings) -> float:
    """Factor of the learning rate at a step: warm-up from 0, then the schedule down to its final fraction."""
    warmup = settings.warmup_fraction * total
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if settings.schedule == "constant":
        return 1.0
    part = (step - warmup) / max(total - warmup, 1)
    if settings.schedule == "cosine":
        part = (1 - torch.cos(torch.tensor(part * torch.pi)).item()) / 2
    return 1.0 - (1.0 - settings.final_learning_rate_fraction) * min(part, 1.0)
