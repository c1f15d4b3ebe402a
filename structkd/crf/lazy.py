"""Answers that are computed when they are asked for, and once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, overload

import torch

_Answer = TypeVar("_Answer")


class Asked(Protocol):
    """What keeps the answers: they depend on whether a graph is recorded."""

    _answers: dict[tuple[Lazy[Any], bool], Any]

    @property
    def _trainable(self) -> bool: ...


class Lazy(Generic[_Answer]):
    """A property computed once: an answer without a graph does not do where a graph is wanted, and is asked again."""

    def __init__(self, question: Callable[[Any], _Answer]) -> None:
        self._question = question
        self.__doc__ = question.__doc__

    @overload
    def __get__(self, chain: None, owner: type) -> Lazy[_Answer]: ...
    @overload
    def __get__(self, chain: Asked, owner: type) -> _Answer: ...
    def __get__(self, chain: Asked | None, owner: type) -> Lazy[_Answer] | _Answer:
        if chain is None:
            return self
        key = (self, torch.is_grad_enabled() and chain._trainable)
        if key not in chain._answers:
            chain._answers[key] = self._question(chain)
        return chain._answers[key]
