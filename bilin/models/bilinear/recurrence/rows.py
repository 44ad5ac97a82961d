"""Tokens laid out for the recurrence: which rows take which token at which time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bilin.models.bilinear.recurrence.groups import Groups, group


class Rows:
    """One token a row; part of a layout whose groups are planned together."""

    def __init__(self, tokens: Int[Tensor, " rows"], plan: Callable[[], list[Groups]], part: int) -> None:
        self.tokens = tokens
        self._plan = plan
        self._part = part

    @property
    def groups(self) -> Groups:
        """The rows grouped by token, for tiers with large matrices; made when it is first asked for."""
        return self._plan()[self._part]


class Packed:
    """Sequences of mixed lengths laid out time by time, the longest first, without padding.

    At each time the sequences that have not ended are the first ones, so that a step computes those alone, on a
    slice.

    Attributes:
        sizes: How many sequences have a token at each time; never rising.
        steps: The tokens of those sequences, at each time.
    """

    def __init__(self, tokens: Int[Tensor, "batch time"], num_tokens: Int[Tensor, " batch"]) -> None:
        order = torch.argsort(num_tokens, descending=True, stable=True)
        there = torch.arange(tokens.shape[1], device=tokens.device)[:, None] < num_tokens[order]
        self._sizes = there.sum(1)
        self._rank = torch.argsort(order)
        self.sizes: list[int] = [size for size in self._sizes.tolist() if size]
        laid_out = tokens[order].T[there]
        plan = functools.cache(functools.partial(group, laid_out, self.sizes))
        self.steps = [Rows(cut, plan, part) for part, cut in enumerate(laid_out.split(self.sizes))]

    def last(self, states: Iterable[Tensor]) -> Float[Tensor, "batch width"]:
        """The state after each sequence's last token, from the states at each time."""
        ended = [now[size:] for now, size in zip(states, [*self.sizes[1:], 0], strict=True)]
        return torch.cat(ended[::-1]).index_select(0, self._rank)

    def pad(self, states: Iterable[Tensor]) -> Float[Tensor, "batch time width"]:
        """The states at each time by sequence; what stands after a sequence's end means nothing."""
        laid_out = torch.cat(list(states))
        position = (self._sizes.cumsum(0) - self._sizes)[None, :] + self._rank[:, None]
        return laid_out[position.clamp(max=len(laid_out) - 1)]
