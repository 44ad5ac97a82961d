"""A diagonal recurrence whose transitions depend on the input, step by step.

    h_t = a_t ∘ h_{t-1} + B_t w_tᵀ,    y_t = C_tᵀ h_t,    a_t = exp(Δ_t A), or 2 exp(Δ_t A) - 1 where signed

A step stays in the cache, and nothing is divided or taken to logarithms, so that factors near 0 do no harm. The
gradient is written out: it keeps the states alone and forms the transitions again, where autograd would keep both
for every token.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def selective_scan(
    w: Float[Tensor, "batch time inner"],
    steps: Float[Tensor, "batch time inner"],
    A: Float[Tensor, "states inner"],
    B: Float[Tensor, "batch time states"],
    C: Float[Tensor, "batch time states"],
    h: Float[Tensor, "batch states inner"] | None,
    *,
    signed: bool,
) -> tuple[Float[Tensor, "batch time inner"], Float[Tensor, "batch states inner"]]:
    """The outputs y, and the state after the last token; a state of None is zero.

    Args:
        w: What comes in.
        steps: Δ, above 0.
        A: Below 0.
        B: How what comes in is spread over the states.
        C: How the states are read.
        h: The state before the first token.
        signed: Whether the transitions are in (-1, 1) instead of (0, 1).
    """
    if h is None:
        h = w.new_zeros(len(w), *A.shape)
    w, steps, B, C = (values.transpose(0, 1).contiguous() for values in (w, steps, B, C))
    if torch.is_grad_enabled():
        y, last = _Scan.apply(w, steps, A, B, C, h, signed)  # type: ignore[no-untyped-call]
    else:
        y, last = _run(w, steps, A, B, C, h[None].clone(), signed=signed)
    return y.transpose(0, 1), last


def _run(
    w: Tensor, steps: Tensor, A: Tensor, B: Tensor, C: Tensor, states: Tensor, *, signed: bool
) -> tuple[Tensor, Tensor]:
    """Go on from ``states[0]``; each state goes to the next place in ``states``, or over the one before."""
    y, a = torch.empty_like(w), torch.empty_like(states[0])
    for t in range(len(w)):
        before, after = states[t % len(states)], states[(t + 1) % len(states)]
        _transition_(torch.mul(steps[t][:, None], A, out=a).exp_(), signed=signed)
        torch.mul(a, before, out=after).addcmul_(B[t][:, :, None], w[t][:, None])
        torch.bmm(C[t][:, None], after, out=y[t][:, None])
    return y, states[-1]


def _transition_(decay: Tensor, *, signed: bool) -> Tensor:
    """From exp(Δ_t A) to a_t, in place."""
    return decay.mul_(2).sub_(1) if signed else decay


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, w: Tensor, steps: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor, signed: bool
    ) -> tuple[Tensor, Tensor]:
        states = w.new_empty(len(w) + 1, *h.shape)
        states[0] = h
        y, last = _run(w, steps, A, B, C, states, signed=signed)
        ctx.save_for_backward(w, steps, A, B, C, states)
        ctx.signed = signed
        return y, last.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, y_grad: Tensor, last_grad: Tensor) -> tuple[Tensor | None, ...]:
        w, steps, A, B, C, states = ctx.saved_tensors
        w_grad, steps_grad, B_grad = torch.empty_like(w), torch.empty_like(steps), torch.empty_like(B)
        C_grad = (states[1:] @ y_grad[..., None]).squeeze(-1)
        grad = last_grad.clone()  # that of h_t
        A_grads, decay, q = torch.zeros_like(grad), torch.empty_like(grad), torch.empty_like(grad)
        for t in reversed(range(len(w))):
            grad.addcmul_(C[t][:, :, None], y_grad[t][:, None])
            torch.bmm(B[t][:, None], grad, out=w_grad[t][:, None])
            torch.bmm(grad, w[t][:, :, None], out=B_grad[t][:, :, None])
            torch.mul(steps[t][:, None], A, out=decay).exp_()
            torch.mul(grad, states[t], out=q).mul_(decay)  # that of Δ_t A, or half of it where signed
            A_grads.addcmul_(q, steps[t][:, None])
            torch.sum(q.mul_(A), 1, out=steps_grad[t])
            grad.mul_(_transition_(decay, signed=ctx.signed))
        slope = 2 if ctx.signed else 1
        return w_grad, steps_grad * slope, A_grads.sum(0) * slope, B_grad, C_grad, grad, None
