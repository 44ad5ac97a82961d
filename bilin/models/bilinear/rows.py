"""Tokens laid out for the recurrence: which rows take which token at which time."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bilin.models.bilinear.groups import Groups, group


class Rows:
    """One token a row."""

    def __init__(
        self, tokens: Int[Tensor, " rows"], plan: Callable[[], list[Groups]] | None = None, part: int = 0
    ) -> None:
        self.tokens = tokens
        self._plan = plan or _plan(tokens, [len(tokens)])
        self._part = part

    @property
    def groups(self) -> Groups:
        """The rows grouped by token, for tiers with large matrices; made when it is first asked for."""
        return self._plan()[self._part]


def _plan(tokens: Tensor, sizes: list[int]) -> Callable[[], list[Groups]]:
    return functools.cache(functools.partial(group, tokens, sizes))


class Packed(Rows):
    """Sequences of mixed lengths laid out time by time, the longest first, without padding.

    At each time the sequences that have not ended are the first ones, so that a step computes those alone,
    on a slice.

    Attributes:
        tokens: The tokens of the first time, then those of the second, and so on.
        sizes: How many sequences have a token at each time; never rising.
        rank: Place of each sequence in the layout's order.
        last: Position in ``tokens`` of each sequence's last token, in the order that the sequences came in.
    """

    def __init__(self, tokens: Int[Tensor, "batch time"], num_tokens: Int[Tensor, " batch"]) -> None:
        order = torch.argsort(num_tokens, descending=True, stable=True)
        there = torch.arange(tokens.shape[1], device=tokens.device)[:, None] < num_tokens[order]
        super().__init__(tokens[order].T[there])
        self._sizes = there.sum(1)
        self.rank = torch.argsort(order)
        self.sizes: list[int] = [size for size in self._sizes.tolist() if size]
        self.last = self._starts[num_tokens - 1] + self.rank

    @functools.cached_property
    def _starts(self) -> Int[Tensor, " time"]:
        return self._sizes.cumsum(0) - self._sizes

    @functools.cached_property
    def steps(self) -> list[tuple[slice, Rows]]:
        """For each time its slice of the layout and its rows."""
        plan, starts = _plan(self.tokens, self.sizes), itertools.accumulate(self.sizes, initial=0)
        cuts = zip(starts, self.tokens.split(self.sizes), strict=False)
        return [(slice(start, start + len(cut)), Rows(cut, plan, part)) for part, (start, cut) in enumerate(cuts)]

    def pad(self, values: Float[Tensor, "packed width"]) -> Float[Tensor, "batch time width"]:
        """Values of the layout by sequence and time; what stands after a sequence's end means nothing."""
        position = self._starts[None, :] + self.rank[:, None]
        return values[position.clamp(max=len(values) - 1)]

    def before(
        self, states: Float[Tensor, "packed hidden"], initial: Float[Tensor, " hidden"]
    ) -> Float[Tensor, "packed hidden"]:
        """The state before each token, from the states after each and the one before the first."""
        first = initial.expand(self.sizes[0], -1)
        rest = [states[where][:size] for (where, _), size in zip(self.steps, self.sizes[1:], strict=False)]
        return torch.cat([first, *rest])
