"""The dispatch table: which backends there are, and which one answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

from structkd.kernels.interface import Backend, BackendUnavailable


def _reference() -> Backend:
    from structkd.kernels.reference import Reference

    return Reference()


def _torch() -> Backend:
    from structkd.kernels.scaled import Scaled

    return Scaled()


def _cpu() -> Backend:
    from structkd.kernels.native import Native

    return Native()


def _triton() -> Backend:
    from structkd.kernels.triton_backend import Triton

    return Triton()


# A new backend is one file, one function above and one row here.
_TABLE: dict[str, Callable[[], Backend]] = {
    "reference": _reference,
    "torch": _torch,
    "cpu": _cpu,
    "triton": _triton,
}
#: Which backends may answer where none is forced, best first.
_PREFERENCE = {"cpu": ("cpu", "torch"), "cuda": ("triton", "torch")}

_loaded: dict[str, Backend] = {}
_chosen: dict[str, Backend] = {}  # by device type
_forced: ContextVar[Backend | None] = ContextVar("structkd_backend", default=None)


def _backend(name: str) -> Backend:
    if name not in _loaded:
        _loaded[name] = _TABLE[name]()
    return _loaded[name]


def status() -> dict[str, str]:
    """For every backend "available", or the reason why it cannot run here."""
    return {name: _backend(name).unavailable() or "available" for name in _TABLE}


def available_backends() -> tuple[str, ...]:
    """Names of the backends that can run here."""
    return tuple(name for name, state in status().items() if state == "available")


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Force a backend for everything that is asked inside the block.

    Args:
        name: One of the names in ``status()``.

    Raises:
        BackendUnavailable: The backend is not known or cannot run here; on the first question, that it cannot work on
            the device of the tensors.
    """
    if name not in _TABLE:
        raise BackendUnavailable(f"there is no backend {name!r}; known are {', '.join(_TABLE)}")
    backend = _backend(name)
    reason = backend.unavailable()
    if reason is not None:
        raise BackendUnavailable(f"backend {name!r} cannot run here: {reason}")
    token = _forced.set(backend)
    try:
        yield
    finally:
        _forced.reset(token)


def select(device: torch.device) -> Backend:
    """The backend that answers for tensors on a device: the forced one, or the best that runs."""
    forced = _forced.get()
    if forced is not None:
        if not forced.runs_on(device):
            raise BackendUnavailable(
                f"backend {forced.name!r} cannot work on {device.type} tensors; move them or leave use_backend"
            )
        return forced
    chosen = _chosen.get(device.type)
    if chosen is None:
        names = _PREFERENCE.get(device.type, ("torch",))
        chosen = next(_backend(n) for n in names if n in _TABLE and _backend(n).unavailable() is None)
        _chosen[device.type] = chosen
    return chosen
