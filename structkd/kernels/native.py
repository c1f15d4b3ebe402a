"""The C kernels (csrc/) behind ctypes: raw pointers and strides in, contiguous tensors out."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_int64, c_void_p
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from structkd.kernels import scores
from structkd.kernels.interface import Backend, Expectations, MaskFacts, Pairs, Paths, Potentials

_HOLES, _FIRST_OFF, _EMPTY = 1, 2, 4
_OK, _OUT_OF_MEMORY = -1, -2
_LARGEST_STATE = 64 << 20  # bytes


class _Potentials(ctypes.Structure):
    """``potentials`` of csrc/structkd.h, field by field."""

    _fields_ = (
        ("emissions", c_void_p),
        ("emissions_b", c_int64),
        ("emissions_t", c_int64),
        ("transitions", c_void_p),
        ("transitions_b", c_int64),
        ("transitions_t", c_int64),
        ("start", c_void_p),
        ("start_b", c_int64),
        ("end", c_void_p),
        ("end_b", c_int64),
        ("lengths", c_void_p),
        ("batch", c_int64),
        ("length", c_int64),
        ("tags", c_int64),
        ("wide", c_int64),
        ("threads", c_int64),
    )


_POINTER = ctypes.POINTER(_Potentials)
# p = pointer, i = integer; every function takes the potentials first, but for the mask.
_SIGNATURES = {
    "structkd_expectations": "ppppip",
    "structkd_match": "pppppp",
    "structkd_directional": "ppippip",
    "structkd_topk": "ipp",
    "structkd_decode": "",
    "structkd_sample": "pip",
    "structkd_check_paths": "pi",
    "structkd_path_scores": "pip",
    "structkd_expected_score": "ppip",
    "structkd_weigh": "pipppppp",
    "structkd_state_doubles": "",
}


def find_library() -> Path | None:
    """The shared object that the installation built beside this file, if it did."""
    here = Path(__file__).parent
    return next((here / f"_cpu{suffix}" for suffix in EXTENSION_SUFFIXES if (here / f"_cpu{suffix}").is_file()), None)


def load_library() -> ctypes.CDLL:
    """Load the kernels.

    Raises:
        OSError: They were not built, or were built for another machine.
    """
    path = find_library()
    if path is None:
        raise OSError(
            "the C kernels were not built at installation (no C compiler?); install one (gcc or clang) and reinstall "
            "structkd, or run `python setup.py build_ext --inplace` in a checkout"
        )
    library = ctypes.CDLL(str(path))
    kinds: dict[str, Any] = {"p": c_void_p, "i": c_int64}
    for name, signature in _SIGNATURES.items():
        function = getattr(library, name, None)
        if function is None:
            raise OSError(
                f"{path} lacks {name}: it was built from other sources; reinstall structkd, or run "
                "`python setup.py build_ext --inplace` in a checkout"
            )
        function.restype = c_int64
        function.argtypes = (_POINTER, *(kinds[c] for c in signature))
    library.structkd_mask.restype = c_int64
    library.structkd_mask.argtypes = (c_void_p, *[c_int64] * 4, c_void_p)
    library.structkd_are_lengths.restype = c_int64
    library.structkd_are_lengths.argtypes = (c_void_p, c_int64, c_int64)
    library.structkd_instructions.restype = ctypes.c_char_p
    library.structkd_force.argtypes = (ctypes.c_char_p,)
    return library


def _empty_like(x: Tensor) -> Tensor:
    """Contiguous, and in half the time of torch.empty."""
    return torch.empty_like(x) if x.is_contiguous() else x.new_empty(x.shape)


def _int64(tags: Tensor) -> Tensor:
    return tags.long().contiguous()


class Native(Backend):
    """C on the CPU: scaled float64, vectorised over tags, threads over sentences."""

    name = "cpu"

    def __init__(self) -> None:
        self._why: str | None = None
        try:
            self._lib = load_library()
            # It makes Python objects, so it is not called like the others, without the interpreter's lock.
            self._decode = ctypes.PYFUNCTYPE(ctypes.py_object, _POINTER)(("structkd_decode", self._lib))
        except OSError as error:
            self._why = str(error)

    def unavailable(self) -> str | None:
        return self._why

    def runs_on(self, device: torch.device) -> bool:
        return device.type == "cpu"

    def _chain(self, p: Potentials) -> tuple[_Potentials, tuple[Tensor, ...]]:
        """The struct, and the tensors that must live as long as it is used."""
        e = p.emissions
        eb, et, ec = e.stride()
        if ec != 1:
            e = e.contiguous()
            eb, et, _ = e.stride()
        a, s, t, n = p.transitions, p.start, p.end, p.lengths
        if not a.is_contiguous():
            a = a.contiguous()
        if not (s.is_contiguous() and t.is_contiguous() and n.is_contiguous()):
            s, t, n = s.contiguous(), t.contiguous(), n.contiguous()
        batch, length, tags = e.shape
        rank = a.dim()
        chain = _Potentials(
            e.data_ptr(),
            eb,
            et,
            a.data_ptr(),
            a.stride(0) if rank > 2 else 0,
            a.stride(1) if rank > 3 else 0,
            s.data_ptr(),
            tags if s.dim() > 1 else 0,
            t.data_ptr(),
            tags if t.dim() > 1 else 0,
            n.data_ptr(),
            batch,
            length,
            tags,
            e.dtype is torch.float64,
            torch.get_num_threads(),
        )
        return chain, (e, a, s, t, n)

    def _ask(self, p: Potentials, function: Callable[..., int], *arguments: int | None) -> None:
        chain, keep = self._chain(p)
        self._call(p, function, chain, *arguments)
        del keep

    def _call(self, p: Potentials, function: Callable[..., int], *arguments: Any) -> None:
        status = function(*arguments)
        if status != _OK:
            if status == _OUT_OF_MEMORY:
                raise MemoryError(f"no memory left for the CRF of {p.emissions.shape[0]} sentences")
            scores.refuse_tags(status)

    def log_partition(self, p: Potentials) -> Tensor:
        log_z = p.emissions.new_empty(p.emissions.shape[0])
        self._ask(p, self._lib.structkd_expectations, None, log_z.data_ptr(), None, None, 0, None)
        return log_z

    def expectations(self, p: Potentials, pairs: Pairs, *, keep: bool = False) -> Expectations:
        return self._expectations(p, None, pairs, keep)

    def log_likelihood(self, p: Potentials, tags: Tensor) -> Expectations:
        return self._expectations(p, _int64(tags), "counts", False)

    def match(self, p: Potentials, mass: Tensor, unary: Tensor, pairs: Tensor) -> Expectations:
        dtype = p.emissions.dtype
        mass, unary, pairs = (x if x.dtype is dtype else x.to(dtype) for x in (mass, unary, pairs))
        mass, unary, pairs = mass.contiguous(), unary.contiguous(), pairs.contiguous()
        value, excess, pair_excess = torch.empty_like(mass), torch.empty_like(unary), torch.empty_like(pairs)
        self._ask(
            p,
            self._lib.structkd_match,
            mass.data_ptr(),
            unary.data_ptr(),
            pairs.data_ptr(),
            value.data_ptr(),
            excess.data_ptr(),
            pair_excess.data_ptr(),
        )
        return Expectations(value, excess, pair_excess)

    def _expectations(self, p: Potentials, tags: Tensor | None, pairs: Pairs, keep: bool) -> Expectations:
        e = p.emissions
        batch, length, num_tags = e.shape
        edges = p.by_position or pairs == "edges"
        value = e.new_empty(batch)
        marginals = _empty_like(e)
        found = None
        if pairs != "none":
            found = e.new_empty((batch, length - 1, num_tags, num_tags) if edges else (batch, num_tags, num_tags))
        chain, alive = self._chain(p)
        state = self._state(chain) if keep else None
        self._call(
            p,
            self._lib.structkd_expectations,
            chain,
            None if tags is None else tags.data_ptr(),
            value.data_ptr(),
            marginals.data_ptr(),
            None if found is None else found.data_ptr(),
            edges,
            None if state is None else state.data_ptr(),
        )
        del alive
        return Expectations(value, marginals, found, state)

    def _state(self, chain: _Potentials) -> Tensor | None:
        """Room for a forward-backward pass; None where doing it again is as fast, or it would take too much memory."""
        size = self._lib.structkd_state_doubles(chain)
        return torch.empty(size, dtype=torch.float64) if 0 < size * 8 <= _LARGEST_STATE else None

    def directional(
        self, p: Potentials, unary: Tensor | None, pairs: Tensor | None, state: Any = None
    ) -> tuple[Tensor, Tensor]:
        batch, length, num_tags = p.emissions.shape
        edges = p.by_position
        dtype = p.emissions.dtype
        unary = None if unary is None else unary.to(dtype).contiguous()
        pairs = None if pairs is None else pairs.to(dtype).contiguous()
        d_unary = _empty_like(p.emissions)
        d_pairs = p.emissions.new_empty(
            (batch, length - 1, num_tags, num_tags) if edges else (batch, num_tags, num_tags)
        )
        self._ask(
            p,
            self._lib.structkd_directional,
            None if unary is None else unary.data_ptr(),
            None if pairs is None else pairs.data_ptr(),
            pairs is not None and pairs.dim() == 4,
            d_unary.data_ptr(),
            d_pairs.data_ptr(),
            edges,
            None if state is None else state.data_ptr(),
        )
        return d_unary, d_pairs

    def topk(self, p: Potentials, k: int) -> Paths:
        batch, length, _ = p.emissions.shape
        tags = p.lengths.new_empty((batch, k, length))
        found = p.emissions.new_empty((batch, k))
        self._ask(p, self._lib.structkd_topk, k, tags.data_ptr(), found.data_ptr())
        return Paths(tags, found)

    def decode(self, p: Potentials) -> list[list[int]]:
        chain, keep = self._chain(p)
        rows: list[list[int]] = self._decode(chain)
        del keep
        return rows

    def sample(self, p: Potentials, uniforms: Tensor) -> Tensor:
        uniforms = uniforms.double().contiguous()
        tags = torch.empty(uniforms.shape, dtype=torch.int64)
        self._ask(p, self._lib.structkd_sample, uniforms.data_ptr(), uniforms.shape[1], tags.data_ptr())
        return tags

    def check_tags(self, p: Potentials, tags: Tensor) -> None:
        tags = _int64(tags)
        self._ask(p, self._lib.structkd_check_paths, tags.data_ptr(), tags.shape[1])

    def path_scores(self, p: Potentials, tags: Tensor) -> Tensor:
        tags = _int64(tags)
        found = torch.empty(tags.shape[:2], dtype=p.emissions.dtype)
        self._ask(p, self._lib.structkd_path_scores, tags.data_ptr(), tags.shape[1], found.data_ptr())
        return found

    def expected_score(self, p: Potentials, marginals: Tensor, pairs: Tensor | None) -> Tensor:
        marginals = marginals.contiguous()
        pairs = None if pairs is None else pairs.contiguous()
        found = torch.empty(p.emissions.shape[:1], dtype=p.emissions.dtype)
        by_position = pairs is not None and pairs.dim() == 4
        at = None if pairs is None else pairs.data_ptr()
        self._ask(p, self._lib.structkd_expected_score, marginals.data_ptr(), at, by_position, found.data_ptr())
        return found

    def weigh(
        self, weights: Tensor | None, unary: Tensor, pairs: Tensor | None, p: Potentials
    ) -> tuple[Tensor | None, ...]:
        if pairs is not None and pairs.dim() == 4 and not p.by_position:
            pairs = pairs.sum(1)
        unary = unary.contiguous()
        pairs = None if pairs is None else pairs.contiguous()
        by_emissions = unary if weights is None else torch.empty_like(unary)
        by_transitions = None if pairs is None else _empty_like(p.transitions)
        by_start, by_end = _empty_like(p.start), _empty_like(p.end)
        self._ask(
            p,
            self._lib.structkd_weigh,
            None if weights is None else weights.data_ptr(),
            0 if weights is None else weights.stride(0),
            unary.data_ptr(),
            None if pairs is None else pairs.data_ptr(),
            None if weights is None else by_emissions.data_ptr(),
            None if by_transitions is None else by_transitions.data_ptr(),
            by_start.data_ptr(),
            by_end.data_ptr(),
        )
        return by_emissions, by_transitions, by_start, by_end

    def are_lengths(self, lengths: Tensor, length: int) -> bool:
        lengths = lengths.contiguous()
        return bool(self._lib.structkd_are_lengths(lengths.data_ptr(), len(lengths), length))

    def read_mask(self, mask: Tensor) -> MaskFacts:
        batch, length = mask.shape
        lengths = torch.empty(batch, dtype=torch.int64)
        mb, mt = mask.stride()
        found = self._lib.structkd_mask(mask.data_ptr(), mb, mt, batch, length, lengths.data_ptr())
        return MaskFacts(lengths, bool(found & _HOLES), bool(found & _FIRST_OFF), bool(found & _EMPTY))
