"""Tokens laid out for the recurrence: which rows take which token at which time."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of one token side by side, padded to the size of the largest group.

    Attributes:
        tokens: The token of each group; None for tokens 0, 1, 2, … in their order.
        num_groups: Number of groups, empty ones among them.
        capacity: Size of the largest group.
        slots: Place of each row, below ``num_groups * capacity``.
    """

    tokens: Int[Tensor, " groups"] | None
    num_groups: int
    capacity: int
    slots: Int[Tensor, " rows"]


class Rows:
    """One token a row."""

    def __init__(self, tokens: Int[Tensor, " rows"]) -> None:
        self.tokens = tokens

    @functools.cached_property
    def groups(self) -> Groups:
        """The rows grouped by token."""
        counts = torch.bincount(self.tokens)
        starts = counts.cumsum(0) - counts
        by_token = torch.argsort(self.tokens, stable=True)
        place = torch.empty_like(by_token)
        place[by_token] = torch.arange(len(by_token), device=by_token.device)
        capacity, num_present = int(counts.max()), int(counts.count_nonzero())
        group, present = self.tokens, None
        if 2 * num_present <= len(counts):  # else copying these matrices costs more than the empty groups
            group, present = (counts.sign().cumsum(0) - 1)[self.tokens], counts.nonzero().squeeze(1)
        slots = group * capacity + place - starts[self.tokens]
        return Groups(present, len(counts) if present is None else num_present, capacity, slots)

    def multiply(
        self, matrices: Float[Tensor, "vocab blocks out into"], vectors: Float[Tensor, "rows blocks into"]
    ) -> Float[Tensor, "rows blocks out"]:
        """Each row's vectors times the matrices of its token, without a copy of the matrices for every row.

        The rows of one token are multiplied together. That a matrix is read once a token instead of once a
        row is what makes large ones affordable, in the gradient too.
        """
        groups = self.groups
        blocks, into = vectors.shape[1:]
        slots = vectors.new_zeros(groups.num_groups * groups.capacity, blocks, into)
        padded = slots.index_copy(0, groups.slots, vectors)
        padded = padded.view(groups.num_groups, groups.capacity, blocks, into).transpose(1, 2).flatten(0, 1)
        used = matrices[: groups.num_groups] if groups.tokens is None else matrices.index_select(0, groups.tokens)
        product = torch.bmm(padded, used.flatten(0, 1).mT).unflatten(0, (groups.num_groups, blocks))
        by_slot: Tensor = product.transpose(1, 2).flatten(0, 1)
        return by_slot.index_select(0, groups.slots)


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
        return list(self._cut())

    def _cut(self) -> Iterator[tuple[slice, Rows]]:
        start = 0
        for size, tokens in zip(self.sizes, self.tokens.split(self.sizes), strict=True):
            yield slice(start, start + size), Rows(tokens)
            start += size

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
