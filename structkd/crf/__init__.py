"""Linear-chain CRFs: the distribution that answers questions, and the layer that makes it."""

from __future__ import annotations

from structkd.crf.distribution import Argmax, LinearChainCRF, TopK
from structkd.crf.finite import require_finite
from structkd.crf.module import CRF

__all__ = ["CRF", "Argmax", "LinearChainCRF", "TopK", "require_finite"]
