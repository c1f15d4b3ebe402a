"""What `structkd bench objectives` measures and prints; not a verb itself."""

from __future__ import annotations

import json
import platform
from contextlib import nullcontext
from typing import NamedTuple

import torch

import structkd
from structkd.bench.objectives import EpochCost, ExtractionCost, LossCost, epoch_costs, extraction_cost, loss_costs
from structkd.kernels import select, use_backend


class Findings(NamedTuple):
    """All measurements and where they were made."""

    machine: dict[str, str]
    losses: list[LossCost]
    epochs: list[EpochCost]
    extraction: ExtractionCost

    def as_json(self) -> str:
        """The same as JSON."""
        value = {
            "machine": self.machine,
            "losses": [row._asdict() for row in self.losses],
            "epochs": [row._asdict() for row in self.epochs],
            "extraction": self.extraction._asdict(),
        }
        return json.dumps(value, indent=2)


def measure(rounds: int, sentences: int, backend: str | None) -> Findings:
    """Measure on one thread of the CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with nullcontext() if backend is None else use_backend(backend):
            machine = {
                "structkd": structkd.__version__,
                "torch": torch.__version__,
                "processor": platform.machine(),
                "backend": select(torch.device("cpu")).name,
            }
            return Findings(
                machine,
                loss_costs(rounds=rounds),
                epoch_costs(sentences=sentences),
                extraction_cost(sentences=sentences),
            )
    finally:
        torch.set_num_threads(threads)


def render(found: Findings) -> str:
    """Two tables and a paragraph."""
    told = ", ".join(f"{key} {value}" for key, value in found.machine.items())
    lines = [
        f"one CPU thread, {told}",
        "",
        f"{'objective':<24} {'loss, ms':>9} {'/ nll':>6} {'epoch, s':>9} {'/ nll':>6}",
    ]
    for one, epoch in zip(found.losses, found.epochs, strict=True):
        lines.append(
            f"{one.objective:<24} {one.milliseconds:>9.3f} {one.relative:>6.2f} {epoch.seconds:>9.2f} "
            f"{epoch.relative:>6.2f}"
        )
    cost = found.extraction
    lines += [
        "",
        f"extraction: {cost.extraction:.0f} sentences/s of {cost.words_per_sentence:.1f} words; the encoder alone "
        f"{cost.encoder:.0f} sentences/s",
        f"store: {cost.bytes_per_token:.1f} bytes/token; a batch of 32 sentences is read in "
        f"{cost.milliseconds_per_batch:.2f} ms",
    ]
    return "\n".join(lines)
