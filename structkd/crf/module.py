"""The CRF layer: takes the place of ``torchcrf.CRF`` by changing the import."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from structkd.crf.distribution import LinearChainCRF
from structkd.kernels import Potentials, scores, select
from structkd.labels.transitions import LegalTransitions

_FULL = (torch.float32, torch.float64)
_REDUCTIONS = ("none", "sum", "mean", "token_mean")


class CRF(nn.Module):
    """Transition scores of a linear-chain CRF, and the distribution that they make together with emissions.

    Args:
        num_tags: Number of tags C.
        batch_first: Whether emissions, tags and masks come as [B, T, ...] rather than [T, B, ...].
        constraints: What a tagging scheme allows; everything else has probability 0, in training and in decoding.
        allow_masked_first: Whether a mask may leave out the first step of a sentence.
        num_languages: With L > 0, ``language_transitions`` [L, C, C] are added to the shared transitions of the
            sentences of each language, less their mean over languages: so the shared transitions are the mean of all
            languages, which is what a sentence in another one gets.

    Attributes:
        transitions: [C, C], from row to column.
        start_transitions: [C].
        end_transitions: [C].

    Raises:
        ValueError: ``num_tags`` is below 1, or the constraints are not about so many tags.
    """

    constraint_start: Tensor | None
    constraint_transitions: Tensor | None
    constraint_end: Tensor | None

    def __init__(
        self,
        num_tags: int,
        batch_first: bool = False,
        *,
        constraints: LegalTransitions | None = None,
        allow_masked_first: bool = False,
        num_languages: int = 0,
    ) -> None:
        if num_tags <= 0:
            raise ValueError(f"invalid number of tags: {num_tags}")
        super().__init__()
        self.num_tags = num_tags
        self.batch_first = batch_first
        self.allow_masked_first = allow_masked_first
        self.start_transitions = nn.Parameter(torch.empty(num_tags))
        self.end_transitions = nn.Parameter(torch.empty(num_tags))
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags))
        self.language_transitions = (
            nn.Parameter(torch.empty(num_languages, num_tags, num_tags)) if num_languages else None
        )
        if constraints is not None and tuple(constraints.transitions.shape) != (num_tags, num_tags):
            raise ValueError(
                f"constraints: expected transitions [{num_tags}, {num_tags}], "
                f"got {tuple(constraints.transitions.shape)}"
            )
        self._constrained = constraints is not None
        # Not persistent: the state dict stays that of torchcrf.CRF.
        for name in LegalTransitions._fields:
            legal = None if constraints is None else getattr(constraints, name).bool()
            self.register_buffer(f"constraint_{name}", legal, persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the scores from U(-0.1, 0.1); differences between languages start at 0."""
        for parameter in (self.start_transitions, self.end_transitions, self.transitions):
            nn.init.uniform_(parameter, -0.1, 0.1)
        if self.language_transitions is not None:
            nn.init.zeros_(self.language_transitions)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_tags={self.num_tags})"

    @property
    def constraints(self) -> LegalTransitions | None:
        """The constraints in use."""
        start, transitions, end = self.constraint_start, self.constraint_transitions, self.constraint_end
        if start is None or transitions is None or end is None:
            return None
        return LegalTransitions(start, transitions, end)

    def forward(
        self,
        emissions: Tensor,
        tags: Tensor,
        mask: Tensor | None = None,
        reduction: str = "sum",
        *,
        languages: Tensor | None = None,
    ) -> Tensor:
        """Log-likelihood of tags.

        Args:
            emissions: [T, B, C], or [B, T, C] if ``batch_first``.
            tags: [T, B] or [B, T] int64; anything where the mask is off.
            mask: [T, B] or [B, T], True (or 1) at the steps that count; may have holes.
            reduction: ``none`` [B], ``sum``, ``mean`` over sentences, ``token_mean`` over the steps that count.
            languages: [B] int64, index of each sentence's language; -1 for one without transitions of its own.

        Raises:
            ValueError: Shapes do not fit, a mask's first step is off, a tag is out of range, unknown reduction.
        """
        if reduction not in _REDUCTIONS:
            self._validate(emissions, tags, mask)
            raise ValueError(f"invalid reduction: {reduction}")
        chain, order = self._chain(emissions, tags, mask, languages)
        if not self.batch_first:
            tags = tags.transpose(0, 1)
        if order is not None:
            tags = tags.gather(1, order)
        if reduction in ("none", "mean"):
            log_prob = chain.log_prob(tags)
            return log_prob if reduction == "none" else log_prob.mean()
        total = chain.total_log_prob(tags)
        return total if reduction == "sum" else total / chain.lengths.sum()

    def distribution(
        self, emissions: Tensor, mask: Tensor | None = None, *, languages: Tensor | None = None
    ) -> LinearChainCRF:
        """The distribution over the tags of the steps that the mask keeps.

        Args:
            emissions: [T, B, C], or [B, T, C] if ``batch_first``.
            mask: [T, B] or [B, T]; under a mask with holes the kept steps are moved together, and ``positions`` says
                where they were.
            languages: [B] int64, index of each sentence's language; -1 for one without transitions of its own.

        Raises:
            ValueError: Shapes do not fit, a mask's first step is off (unless ``allow_masked_first``), or a sentence
                keeps no step at all; it is named.
        """
        return self._chain(emissions, None, mask, languages)[0]

    def decode(
        self, emissions: Tensor, mask: Tensor | None = None, *, languages: Tensor | None = None
    ) -> list[list[int]]:
        """The best tags of every sentence, one for each step that the mask keeps."""
        if mask is not None and select(emissions.device).decodes_masked:
            rows = self._decode_masked(emissions, mask, languages)
            if rows is not None:
                return rows
        return self._chain(emissions, None, mask, languages)[0].decode()

    def _decode_masked(self, emissions: Tensor, mask: Tensor, languages: Tensor | None) -> list[list[int]] | None:
        """The best tags where the backend can read the mask beside them, None where it cannot."""
        if languages is not None or self._constrained or emissions.dtype not in _FULL:
            return None
        self._validate(emissions, None, mask)
        if not self.batch_first:
            emissions, mask = emissions.transpose(0, 1), mask.transpose(0, 1)
        unread = emissions.new_empty(0, dtype=torch.int64)
        p = Potentials(emissions, self.transitions, self.start_transitions, self.end_transitions, unread)
        return select(emissions.device).decode_masked(p, mask.bool())

    def marginals(self, emissions: Tensor, mask: Tensor | None = None, *, languages: Tensor | None = None) -> Tensor:
        """p(tag c at step t) [B, T, C] at the caller's positions; 0 where the mask is off."""
        chain, order = self._chain(emissions, None, mask, languages)
        if order is None:
            return chain.marginals
        where = order[..., None].expand_as(chain.marginals)
        return torch.zeros_like(chain.marginals).scatter(1, where, chain.marginals)

    def _chain(
        self, emissions: Tensor, tags: Tensor | None, mask: Tensor | None, languages: Tensor | None
    ) -> tuple[LinearChainCRF, Tensor | None]:
        """The distribution, and, under a mask with holes, which step of the caller's went where [B, T]."""
        self._validate(emissions, tags, mask)
        if not self.batch_first:
            emissions = emissions.transpose(0, 1)
            mask = None if mask is None else mask.transpose(0, 1)
        lengths = order = positions = None
        if mask is not None:
            lengths, order = self._compact(mask)
            if order is not None:
                emissions = emissions.gather(1, order[..., None].expand_as(emissions))
                positions = torch.where(scores.within(lengths, order.shape[1]), order, -1)
        # Without the detour through nn.Module.__getattr__, which costs more than the check of a mask.
        own = self._parameters
        start, end = own["start_transitions"], own["end_transitions"]
        transitions: Tensor | None = own["transitions"]
        assert transitions is not None
        assert start is not None
        assert end is not None
        if languages is not None:
            if self.language_transitions is None:
                raise ValueError("languages were given, but this CRF was made with num_languages=0")
            offsets = self.language_transitions - self.language_transitions.mean(0)
            known = (languages >= 0)[:, None, None]
            transitions = transitions + torch.where(known, offsets[languages.clamp(min=0)], 0)
        if lengths is not None and emissions.dtype is transitions.dtype and emissions.dtype in _FULL:
            chain = LinearChainCRF._of(Potentials(emissions, transitions, start, end, lengths), positions)
        else:
            chain = LinearChainCRF(emissions, transitions, start, end, lengths, positions=positions)
        if self._constrained:
            constraints = self.constraints
            assert constraints is not None
            chain = chain.condition(constraints)
        return chain, order

    def _validate(self, emissions: Tensor, tags: Tensor | None, mask: Tensor | None) -> None:
        shape = emissions.shape
        if len(shape) != 3:
            raise ValueError(f"emissions must have dimension of 3, got {len(shape)}")
        if shape[2] != self.num_tags:
            raise ValueError(f"expected last dimension of emissions is {self.num_tags}, got {shape[2]}")
        for name, x in (("tags", tags), ("mask", mask)):
            if x is not None and x.shape != shape[:2]:
                raise ValueError(
                    f"the first two dimensions of emissions and {name} must match, "
                    f"got {tuple(shape[:2])} and {tuple(x.shape)}"
                )

    def _compact(self, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """Lengths [B], and the order [B, T] that moves the kept steps to the front; None if they are there already."""
        if mask.dtype != torch.bool:
            mask = mask.bool()
        facts = select(mask.device).read_mask(mask)
        if facts.first_off and not self.allow_masked_first:
            raise ValueError(
                "mask of the first timestep must all be on "
                "(or CRF(..., allow_masked_first=True), which moves the kept steps together)"
            )
        if facts.empty:
            empty = ", ".join(str(b) for b in (facts.lengths == 0).nonzero()[:, 0].tolist())
            raise ValueError(f"mask keeps no step of sentence {empty}: every sentence needs one")
        return facts.lengths, torch.argsort(~mask, dim=1, stable=True) if facts.holes else None
