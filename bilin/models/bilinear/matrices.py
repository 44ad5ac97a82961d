"""One matrix for each token, multiplied with many rows in many steps, without copying a matrix for each row.

A row is one sequence at one time. Rows with the same token form a group, and one batched product multiplies each
matrix with all rows of its group. The members of a stack are more tokens and more rows.

A row's result must not depend on the other rows, to the last bit. Kernels for matrix products add up in another order
for another number of rows, if that is small or no multiple of 4, or for a sum over more than about 300 numbers. So
the size of a group is a multiple of 8, and a sum over rows is taken 256 at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from bilin.models.bilinear.bilinear import Transition
    from bilin.models.bilinear.layout import Rows

Use: TypeAlias = tuple[Tensor, "Tensor | None", Tensor, Tensor]
"""One multiplication: the tokens, which rows are live, the vectors, and the gradient of the products."""

MULTIPLE, SUMMED_AT_ONCE = 8, 256

LARGE = 32
"""Width of a block from which multiplying all rows of a token together is faster than copying its blocks to each row.

It must be wide enough that a product of `MULTIPLE` rows is one for the kernels of the library, not for torch's own
loop for tiny ones.
"""


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows sorted by token, each group padded to one size.

    Attributes:
        tokens: Token of each group; None for the tokens 0, 1, 2, … in order.
        num_groups: Number of groups, including empty ones.
        capacity: Size of a group.
        slots: Position of each row, below ``num_groups * capacity``; 0 for dead rows.
        live, dead: Which rows are dead and which are not; None if none is dead.
    """

    tokens: Int[Tensor, " groups"] | None
    num_groups: int
    capacity: int
    slots: Int[Tensor, " rows"]
    live: Int[Tensor, " live"] | None = None
    dead: Int[Tensor, " dead"] | None = None

    def multiply(
        self,
        matrices: Float[Tensor, "vocab blocks out into"],
        vectors: Float[Tensor, "rows blocks _"],
        *,
        transpose: bool,
    ) -> Float[Tensor, "rows blocks _"]:
        """Multiply the vectors of each row by the matrices of its token, or their transposes; dead rows become 0."""
        used = (matrices if self.tokens is None else matrices.index_select(0, self.tokens)).flatten(0, 1)
        product = torch.bmm(self._spread(vectors), used if transpose else used.mT)
        by_slot: Tensor = product.unflatten(0, (self.num_groups, -1)).transpose(1, 2).flatten(0, 1)
        of_rows: Tensor = by_slot.index_select(0, self.slots)
        return of_rows if self.dead is None else of_rows.index_fill_(0, self.dead, 0)

    def add_products(
        self,
        matrices: Float[Tensor, "vocab blocks out into"],
        left: Float[Tensor, "rows blocks out"],
        right: Float[Tensor, "rows blocks into"],
    ) -> None:
        """Add the outer products of the live rows to the matrices of their tokens, in place."""
        parts = zip(*(self._spread(rows).split(SUMMED_AT_ONCE, 1) for rows in (left, right)), strict=True)
        first, *more = parts
        sums = torch.bmm(first[0].mT, first[1])
        for outer, inner in more:
            sums.baddbmm_(outer.mT, inner)
        sums = sums.unflatten(0, (self.num_groups, -1))
        if self.tokens is None:
            matrices += sums
        else:
            matrices.index_add_(0, self.tokens, sums)

    def _spread(self, vectors: Tensor) -> Tensor:
        """Put vectors in their slots, (groups * blocks, capacity, width); slots without a row are 0."""
        spread: Tensor = vectors.new_zeros(self.num_groups * self.capacity, *vectors.shape[1:])
        if self.live is None:
            spread.index_copy_(0, self.slots, vectors)
        else:
            spread.index_copy_(0, self.slots.index_select(0, self.live), vectors.index_select(0, self.live))
        by_group: Tensor = spread.unflatten(0, (self.num_groups, self.capacity))
        return by_group.transpose(1, 2).flatten(0, 1)


def group(tokens: Sequence[Tensor], live: Sequence[Tensor | None], vocab: int) -> list[Groups]:
    """Return the groups of each part of the rows, given their tokens and which rows are live, from one sort."""
    sizes, parts = [len(part) for part in tokens], len(tokens)
    token, device = torch.cat(list(tokens)), tokens[0].device
    part = torch.arange(parts, device=device).repeat_interleave(torch.tensor(sizes, device=device))
    there = _joined(tokens, live)
    key = part * vocab + token
    if there is not None:
        key = torch.where(there, key, parts * vocab)  # dead rows behind all others
    counts = torch.bincount(key, minlength=parts * vocab + 1)
    by_key = key.argsort(stable=True)
    place = torch.empty_like(by_key)
    place[by_key] = torch.arange(len(key), device=device)
    place -= (counts.cumsum(0) - counts)[key]
    if there is not None:
        key = torch.where(there, key, 0)
    counts = counts[:-1].view(parts, vocab)
    rank = (counts.sign().cumsum(1) - 1).flatten()[key]
    largest, present = counts.amax(1).tolist(), counts.sign().sum(1).tolist()
    cuts = zip(counts, *(values.split(sizes) for values in (token, rank, place)), live, strict=True)
    return [_group(*cut, largest=most, present=few) for cut, most, few in zip(cuts, largest, present, strict=True)]


def _group(
    counts: Tensor, tokens: Tensor, ranks: Tensor, places: Tensor, live: Tensor | None, *, largest: int, present: int
) -> Groups:
    """Return the groups of one part, from the count of each token and the position of each row in its group."""
    capacity = -(-max(1, largest) // MULTIPLE) * MULTIPLE
    all_tokens = 2 * present > len(counts)  # copying the matrices that occur would cost more than the empty groups
    slots = (tokens if all_tokens else ranks) * capacity + places
    living = dead = None
    if live is not None:
        slots = slots.masked_fill(~live.flatten(), 0)
        living, dead = (mask.flatten().nonzero().squeeze(1) for mask in (live, ~live))
    if all_tokens:
        return Groups(None, len(counts), capacity, slots, living, dead)
    return Groups(counts.nonzero().squeeze(1), present, capacity, slots, living, dead)


def _joined(tokens: Sequence[Tensor], live: Sequence[Tensor | None]) -> Tensor | None:
    """Return which rows of all parts are live; None if all are."""
    if all(mask is None for mask in live):
        return None
    pairs = zip(tokens, live, strict=True)
    return torch.cat(
        [torch.ones_like(now, dtype=torch.bool) if mask is None else mask.flatten() for now, mask in pairs]
    )


def multiply_blocks(blocks: Float[Tensor, "members vocab out into blocks"]) -> Transition:
    """Return A_x h for block-diagonal matrices, of which block j acts on the coordinates j, H/b + j, and so on."""
    b, num_blocks = blocks.shape[3:]
    if b < LARGE:

        def copy_to_rows(rows: Rows, states: Tensor) -> Tensor:
            coordinates = states.view(*states.shape[:2], 1, b, num_blocks)
            return (rows.take(blocks) * coordinates).sum(3).flatten(2)

        return copy_to_rows
    matrices = Matrices(blocks.movedim(4, 2).contiguous())

    def multiply_groups(rows: Rows, states: Tensor) -> Tensor:
        coordinates = states.reshape(-1, b, num_blocks).mT
        return matrices.multiply(rows, coordinates).mT.reshape(states.shape)

    return multiply_groups


class Matrices:
    """The matrices of all tokens of all members, each in blocks.

    In the backward pass a multiplication only records its part of the gradient of the matrices. The gradient is
    formed once, after the last multiplication, from all rows of all steps. With many tokens, adding it up at every
    step would take most of the time.
    """

    def __init__(self, matrices: Float[Tensor, "members vocab blocks out into"]) -> None:
        self._in_members = matrices
        self._matrices = matrices.detach().flatten(0, 1)
        self._uses: list[Use] = []
        self._anchor = _Collect.apply(matrices.flatten(0, 1), self._uses)  # type: ignore[no-untyped-call]

    def multiply(self, rows: Rows, vectors: Float[Tensor, "rows blocks into"]) -> Float[Tensor, "rows blocks out"]:
        """Multiply the vectors of each row by the matrices of its token."""
        if rows.groups is None:
            return self._multiply_all(rows, vectors)
        product: Tensor = _Multiply.apply(vectors, self._anchor, self._matrices, rows, self._uses)  # type: ignore[no-untyped-call]
        return product

    def _multiply_all(self, rows: Rows, vectors: Tensor) -> Tensor:
        """Multiply each row by the matrices of all tokens of its member, then take that of its own."""
        members, vocab, _, out, _ = self._in_members.shape
        by_block = vectors.unflatten(0, (members, -1)).transpose(1, 2)  # members, blocks, rows, into
        of_all = by_block @ self._in_members.transpose(1, 2).flatten(2, 3).mT
        token = (rows.tokens % vocab).view(members, 1, -1, 1, 1).expand(*by_block.shape[:3], 1, out)
        of_own: Tensor = of_all.unflatten(-1, (vocab, out)).gather(3, token).squeeze(3)
        return of_own.transpose(1, 2).flatten(0, 1)


class _Multiply(torch.autograd.Function):
    """Depends on the matrices through the anchor only, so that autograd reaches `_Collect` after every use."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, anchor: Tensor, matrices: Tensor, rows: Rows, uses: list[Use]) -> Tensor:
        assert rows.groups is not None
        ctx.rows, ctx.uses = rows, uses
        ctx.save_for_backward(vectors, anchor, matrices)
        return rows.groups.multiply(matrices, vectors, transpose=False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        vectors, anchor, matrices = ctx.saved_tensors
        ctx.uses.append((ctx.rows.tokens, ctx.rows.live, vectors, grad))
        return ctx.rows.groups.multiply(matrices, grad, transpose=True), torch.zeros_like(anchor), None, None, None


class _Collect(torch.autograd.Function):
    """Does nothing in the forward pass; in the backward pass, forms the gradient of the matrices from all uses."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, uses: list[Use]) -> Tensor:
        ctx.uses, ctx.shape = uses, matrices.shape
        return matrices.new_zeros(())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        gradient = grad.new_zeros(ctx.shape)
        if ctx.uses:
            tokens, live, vectors, grads = zip(*ctx.uses, strict=True)
            ctx.uses.clear()
            (groups,) = group([torch.cat(tokens)], [_joined(tokens, live)], len(gradient))
            groups.add_products(gradient, torch.cat(grads), torch.cat(vectors))
        return gradient, None
