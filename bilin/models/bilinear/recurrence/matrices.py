"""A matrix for every token, multiplied with many rows in many steps."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from bilin.models.bilinear.recurrence.groups import group
from bilin.models.bilinear.recurrence.rows import Rows

Use: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Of one multiplication: the tokens, the vectors, and the gradient of the products."""


class Matrices:
    """The matrices of all tokens, each in blocks.

    Multiplying takes the rows of one token together, and never copies a matrix for each row. In the backward
    pass a multiplication only notes its part in the gradient of the matrices; that gradient is formed once, after
    the last of them, from all rows of all steps. Where there are many tokens, adding it up step by step would take
    most of the time.
    """

    def __init__(self, matrices: Float[Tensor, "vocab blocks out into"]) -> None:
        self._matrices = matrices.detach()
        self._uses: list[Use] = []
        self._anchor = _Collect.apply(matrices, self._uses)  # type: ignore[no-untyped-call]

    def multiply(self, rows: Rows, vectors: Float[Tensor, "rows blocks into"]) -> Float[Tensor, "rows blocks out"]:
        """Each row's vectors times the matrices of its token."""
        product: Tensor = _Multiply.apply(vectors, self._anchor, self._matrices, rows, self._uses)  # type: ignore[no-untyped-call]
        return product


class _Multiply(torch.autograd.Function):
    """Depends on the matrices through the anchor alone, so that autograd comes to `_Collect` after every use."""

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
    """Nothing in the forward pass; in the backward pass the gradient of the matrices, from all their uses."""

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
