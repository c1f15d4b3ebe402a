"""Batched inference in linear-chain CRFs: one interface, several backends (see README.md for the derivations)."""

from __future__ import annotations

from structkd.kernels.dispatch import available_backends, select, status, use_backend
from structkd.kernels.interface import Backend, BackendUnavailable, Expectations, Paths, Potentials

__all__ = [
    "Backend",
    "BackendUnavailable",
    "Expectations",
    "Paths",
    "Potentials",
    "available_backends",
    "select",
    "status",
    "use_backend",
]
