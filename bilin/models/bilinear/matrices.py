"""One matrix for each token, multiplied with many rows in many steps, without copying a matrix for each row.

A row is one sequence at one time. Rows with the same token form a group, and one batched product multiplies each
matrix with all rows of its group.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

Use: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""One multiplication: the tokens, the vectors, and the gradient of the products."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows sorted by token, each group padded to the size of the largest one.

    Attributes:
        tokens: Token of each group; None for the tokens 0, 1, 2, … in order.
        num_groups: Number of groups, including empty ones.
        capacity: Size of the largest group.
        slots: Position of each row, below ``num_groups * capacity``.
    """

    tokens: Int[Tensor, " groups"] | None
    num_groups: int
    capacity: int
    slots: Int[Tensor, " rows"]

    def multiply(
        self, matrices: Float[Tensor, "vocab blocks out into"], vectors: Float[Tensor, "rows blocks into"]
    ) -> Float[Tensor, "rows blocks out"]:
        """Multiply the vectors of each row by the matrices of its token."""
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
        """Add the outer products of the rows to the matrices of their tokens, in place."""
        sums = torch.bmm(self._spread(left).mT, self._spread(right)).unflatten(0, (self.num_groups, -1))
        if self.tokens is None:
            matrices[: self.num_groups] += sums
        else:
            matrices.index_add_(0, self.tokens, sums)

    def _spread(self, vectors: Tensor) -> Tensor:
        """Put vectors in their slots, (groups * blocks, capacity, width); slots without a row are 0."""
        slots = vectors.new_zeros(self.num_groups * self.capacity, *vectors.shape[1:])
        spread: Tensor = slots.index_copy_(0, self.slots, vectors).unflatten(0, (self.num_groups, self.capacity))
        return spread.transpose(1, 2).flatten(0, 1)


def group(tokens: Int[Tensor, " rows"], sizes: Sequence[int]) -> list[Groups]:
    """Return the groups of the first ``sizes[0]`` rows, of the next ``sizes[1]``, and so on, from one sort."""
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
    """Return the groups of one part, from the count of each token and the position of each row in its group."""
    present, capacity = [token for token, count in enumerate(counts) if count], max(counts)
    if 2 * len(present) > len(counts):  # copying the matrices that occur would cost more than the empty groups
        return Groups(None, len(counts), capacity, tokens * capacity + place)
    return Groups(torch.tensor(present, device=tokens.device), len(present), capacity, rank * capacity + place)


class Rows:
    """The tokens of the rows at one time; the groups of all times are computed together, at first use."""

    def __init__(self, tokens: Int[Tensor, " rows"], all_groups: Callable[[], list[Groups]], time: int) -> None:
        self.tokens = tokens
        self._all_groups = all_groups
        self._time = time

    @classmethod
    def split(cls, tokens: Int[Tensor, " rows"], sizes: Sequence[int]) -> list[Rows]:
        """Return the rows of each time, given how many there are."""
        all_groups = functools.cache(functools.partial(group, tokens, sizes))
        return [cls(cut, all_groups, time) for time, cut in enumerate(tokens.split(list(sizes)))]

    @property
    def groups(self) -> Groups:
        """The rows grouped by token, for tiers with large matrices."""
        return self._all_groups()[self._time]


class Matrices:
    """The matrices of all tokens, each in blocks.

    In the backward pass a multiplication only records its part of the gradient of the matrices. The gradient is
    formed once, after the last multiplication, from all rows of all steps. With many tokens, adding it up at every
    step would take most of the time.
    """

    def __init__(self, matrices: Float[Tensor, "vocab blocks out into"]) -> None:
        self._matrices = matrices.detach()
        self._uses: list[Use] = []
        self._anchor = _Collect.apply(matrices, self._uses)  # type: ignore[no-untyped-call]

    def multiply(self, rows: Rows, vectors: Float[Tensor, "rows blocks into"]) -> Float[Tensor, "rows blocks out"]:
        """Multiply the vectors of each row by the matrices of its token."""
        product: Tensor = _Multiply.apply(vectors, self._anchor, self._matrices, rows, self._uses)  # type: ignore[no-untyped-call]
        return product


class _Multiply(torch.autograd.Function):
    """Depends on the matrices through the anchor only, so that autograd reaches `_Collect` after every use."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, anchor: Tensor, matrices: Tensor, rows: Rows, uses: list[Use]) -> Tensor:
        ctx.rows, ctx.uses = rows, uses
        ctx.save_for_backward(vectors, anchor, matrices)
        return rows.groups.multiply(matrices, vectors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        vectors, anchor, matrices = ctx.saved_tensors
        ctx.uses.append((ctx.rows.tokens, vectors, grad))
        return ctx.rows.groups.multiply(matrices.mT, grad), torch.zeros_like(anchor), None, None, None


class _Collect(torch.autograd.Function):
    """Does nothing in the forward pass; in the backward pass, forms the gradient of the matrices from all uses."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, uses: list[Use]) -> Tensor:
        ctx.uses, ctx.shape = uses, matrices.shape
        return matrices.new_zeros(())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        tokens, vectors, grads = (torch.cat(parts) for parts in zip(*ctx.uses, strict=True))
        ctx.uses.clear()
        gradient = grad.new_zeros(ctx.shape)
        (groups,) = group(tokens, [len(tokens)])
        groups.add_products(gradient, grads, vectors)
        return gradient, None
