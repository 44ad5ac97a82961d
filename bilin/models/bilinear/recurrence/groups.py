"""Rows grouped by their token, so that each token's matrix is read once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
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

    def multiply(
        self, matrices: Float[Tensor, "vocab blocks out into"], vectors: Float[Tensor, "rows blocks into"]
    ) -> Float[Tensor, "rows blocks out"]:
        """Each row's vectors times the matrices of its token."""
        used = matrices[: self.num_groups] if self.tokens is None else matrices.index_select(0, self.tokens)
        product = torch.bmm(self._spread(vectors), used.flatten(0, 1).mT)
        by_slot: Tensor = product.unflatten(0, (self.num_groups, -1)).transpose(1, 2).flatten(0, 1)
        return by_slot.index_select(0, self.slots)

    def add_products(
        self,
        matrices: Float[Tensor, "vocab blocks out into"],
        left: Float[Tensor, "rows blocks out"],
        right: Float[Tensor, "rows blocks into"],
    ) -> None:
        """Add to each token's matrices the outer products of its rows, in place."""
        sums = torch.bmm(self._spread(left).mT, self._spread(right)).unflatten(0, (self.num_groups, -1))
        if self.tokens is None:
            matrices[: self.num_groups] += sums
        else:
            matrices.index_add_(0, self.tokens, sums)

    def _spread(self, vectors: Tensor) -> Tensor:
        """Vectors in their slots, (groups * blocks, capacity, width); 0 in the slots without a row."""
        slots = vectors.new_zeros(self.num_groups * self.capacity, *vectors.shape[1:])
        spread: Tensor = slots.index_copy_(0, self.slots, vectors).unflatten(0, (self.num_groups, self.capacity))
        return spread.transpose(1, 2).flatten(0, 1)


def group(tokens: Int[Tensor, " rows"], sizes: Sequence[int]) -> list[Groups]:
    """The groups of the first ``sizes[0]`` rows, of the next ``sizes[1]``, and so on: planned in one go."""
    device, vocab = tokens.device, int(tokens.max()) + 1
    part = torch.arange(len(sizes), device=device).repeat_interleave(torch.tensor(sizes, device=device))
    key = part * vocab + tokens
    counts = torch.bincount(key, minlength=len(sizes) * vocab)
    by_key = key.argsort(stable=True)
    place = torch.empty_like(by_key)
    place[by_key] = torch.arange(len(key), device=device)
    place -= (counts.cumsum(0) - counts)[key]
    counts = counts.view(len(sizes), vocab)
    rank = (counts.sign().cumsum(1) - 1).flatten()[key]
    cuts = zip(counts.tolist(), *(values.split(list(sizes)) for values in (tokens, rank, place)), strict=True)
    return [_group(*cut) for cut in cuts]


def _group(counts: list[int], tokens: Tensor, rank: Tensor, place: Tensor) -> Groups:
    """One part's groups, given how often each token occurs, and each row's place within its group."""
    present, capacity = [token for token, count in enumerate(counts) if count], max(counts)
    if 2 * len(present) > len(counts):  # then copying the matrices that occur costs more than the empty groups
        return Groups(None, len(counts), capacity, tokens * capacity + place)
    return Groups(torch.tensor(present, device=tokens.device), len(present), capacity, rank * capacity + place)
