"""A loss that is not a number is reported with the sentence it comes from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from structkd.errors import DataError


def require_finite(losses: Tensor, names: Sequence[str] | None = None) -> None:
    """Raise DataError naming every sentence whose loss is not finite.

    Meant to be called on losses that are read anyway, so that the kernels need not wait for their results.

    Args:
        losses: [B], one loss a sentence, in nats.
        names: What to call the sentences; their number in the batch by default.
    """
    bad = (~torch.isfinite(losses.detach())).nonzero()[:, 0].tolist()
    if bad:
        told = ", ".join(f"{names[b] if names is not None else f'sentence {b}'}: {float(losses[b])}" for b in bad[:5])
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise DataError(
            f"loss is not finite ({told}{more}): +inf means that the tags, or all paths, are forbidden by the "
            "constraints; nan that the emissions are not numbers. Check the tags of that sentence against the scheme."
        )
