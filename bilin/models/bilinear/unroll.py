"""The recurrence over time, with a gradient of its own.

Autograd on the loop would add up a gradient of the table at every step. Here the states' gradients are
taken back through time alone, which is the same loop with transposed matrices; the gradient of the table
then comes from one call over all positions at once.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bilin.models.bilinear.bilinear import Bilinear
from bilin.models.bilinear.rows import Packed


def unroll(
    tier: Bilinear,
    table: tuple[Tensor, ...],
    packed: Packed,
    initial: Float[Tensor, " hidden"],
    *,
    added: Float[Tensor, "vocab hidden"] | None = None,
    rescale: bool = False,
) -> Float[Tensor, "packed hidden"]:
    """The state after each token, in the layout of ``packed``.

    With ``rescale`` the state is divided by its norm after each step. The norm counts as a constant: where the
    loss does not depend on the state's scale, the gradient is the same with it. What ``added`` has for the
    token is added to A_x h.
    """
    states: Tensor = _Unroll.apply(tier, packed, rescale, initial, added, *table)  # type: ignore[no-untyped-call]
    return states


@torch.no_grad()
def last_states(
    tier: Bilinear,
    table: tuple[Tensor, ...],
    packed: Packed,
    initial: Float[Tensor, " hidden"],
    *,
    added: Float[Tensor, "vocab hidden"] | None = None,
    rescale: bool = False,
) -> Float[Tensor, "batch hidden"]:
    """The state after each sequence's last token, keeping no other state and no gradient."""
    states = initial.expand(packed.sizes[0], -1).clone()
    for size, (_, rows) in zip(packed.sizes, packed.steps, strict=True):
        states[:size] = tier.step(table, rows, states[:size])
        if added is not None:
            states[:size] += added[rows.tokens]
        if rescale:
            states[:size] /= norm(states[:size])
    return states[packed.rank]


def norm(states: Float[Tensor, "*rows hidden"]) -> Float[Tensor, "*rows 1"]:
    """The Euclidean norm of each state, never 0."""
    size: Tensor = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    return size.clamp_min(torch.finfo(states.dtype).tiny)


class _Unroll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        tier: Bilinear,
        packed: Packed,
        rescale: bool,
        initial: Tensor,
        added: Tensor | None,
        *table: Tensor,
    ) -> Tensor:
        states = initial.new_empty(len(packed.tokens), len(initial))
        sizes = initial.new_empty(len(packed.tokens), 1) if rescale else None
        state = initial.expand(packed.sizes[0], -1)
        for where, rows in packed.steps:
            state = tier.step(table, rows, state[: len(rows.tokens)])
            if added is not None:
                state = state + added.index_select(0, rows.tokens)
            if sizes is not None:
                sizes[where] = norm(state)
                state = state / sizes[where]
            states[where] = state
        ctx.tier, ctx.packed = tier, packed
        ctx.save_for_backward(initial, states, sizes, added, *table)
        return states

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_states: Tensor) -> tuple[Tensor | None, ...]:
        packed: Packed = ctx.packed
        initial, states, sizes, added, *table = ctx.saved_tensors
        grads, grad_initial = _back_through_time(ctx.tier, tuple(table), packed, grad_states, sizes)
        grad_table = _table_gradient(ctx.tier, tuple(table), packed, packed.before(states, initial), grads)
        grad_added = None
        if added is not None:
            grad_added = torch.zeros_like(added).index_add_(0, packed.tokens, grads)
        return None, None, None, grad_initial, grad_added, *grad_table


def _back_through_time(
    tier: Bilinear, table: tuple[Tensor, ...], packed: Packed, grad_states: Tensor, sizes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The gradients of what each step gives before it is rescaled, and that of the initial state."""
    transposed = tier.transpose(table)
    grads = grad_states.clone()
    for index in reversed(range(len(packed.steps))):
        where, rows = packed.steps[index]
        if sizes is not None:
            grads[where] /= sizes[where]
        earlier = tier.step(transposed, rows, grads[where])
        if index > 0:
            start = packed.steps[index - 1][0].start
            grads[start : start + len(earlier)] += earlier
    return grads, earlier.sum(0)


def _table_gradient(
    tier: Bilinear, table: tuple[Tensor, ...], packed: Packed, before: Tensor, grads: Tensor
) -> tuple[Tensor, ...]:
    """The gradient of the table, given the states before all steps and the gradients after them."""
    leaves = tuple(tensor.detach().requires_grad_() for tensor in table)
    with torch.enable_grad():
        after = tier.step(leaves, packed, before)
    return torch.autograd.grad(after, leaves, grads)
