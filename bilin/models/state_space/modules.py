"""The torch layers of Mamba and Mamba-2, and the recurrences that they run.

    H  width of the model    I = expand · H channels    N  states of a channel    Δ  step sizes    a  transitions

`selective_scan` goes step by step, with a transition for each channel and state. A step fits in the cache, and nothing
is divided or turned into logarithms, so factors near 0 do no harm. Its gradient is written out: it stores only the
states and recomputes the transitions, where autograd would store both for every token.

`scan_in_chunks` has one transition per head. Within a chunk it computes all tokens at once, and it passes the state
from chunk to chunk:

    y_t = Σ_{s <= t} P_ts (C_tᵀ B_s) w_s + (a_t ... a_1) C_tᵀ h_0,    P_ts = a_t ... a_{s+1}

The products P are multiplied up rather than taken from sums of logarithms, so signs, zeros and tiny factors are safe.

Sources:
    [1] Dao, Gu: Transformers are SSMs. ICML 2024, arXiv 2405.21060 (section 6).
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.layers import Hidden, Layer, Linear, ShortConvolution
from bilin.models.module import State
from bilin.models.pointwise import silu, softplus
from bilin.models.stacking import in_stack

if TYPE_CHECKING:
    from bilin.models.state_space.mamba import Mamba
    from bilin.models.state_space.mamba2 import Mamba2

MIN_STEP, MAX_STEP = 1e-3, 1e-1
MIN_RATE, MAX_RATE = 1.0, 16.0

CHUNK = 32


def initial_step_bias(channels: int) -> Float[Tensor, " channels"]:
    """Draw b such that softplus(b), a step size, is log-uniform between `MIN_STEP` and `MAX_STEP`."""
    steps = torch.empty(channels).uniform_(math.log(MIN_STEP), math.log(MAX_STEP)).exp()
    return steps + (-torch.expm1(-steps)).log()  # softplus inverted: log(e^Δ - 1), without the large exponential


def initial_log_rates(heads: int, *, least: float = MIN_RATE) -> Float[Tensor, " heads"]:
    """Draw logarithms of decay rates that are uniform up to `MAX_RATE`, as for Mamba-2."""
    return torch.empty(heads).uniform_(least, MAX_RATE).clamp_min(torch.finfo().tiny).log()


class MambaLayer(Layer):
    """See `bilin.models.state_space.mamba` for the formula. A_log is stored as (N, I)."""

    undecayed = ("A_log",)

    tokens_at_once = 2**14

    def __init__(self, tier: Mamba) -> None:
        super().__init__()
        inner, rank = tier.expand * tier.hidden, tier.dt_rank or math.ceil(tier.hidden / 16)
        self.signed = tier.eigenvalues == "signed"
        self.splits = (rank, tier.state_size, tier.state_size)
        self.into = Linear(tier.hidden, 2 * inner, bias=False)
        self.convolution = ShortConvolution(inner, tier.conv_size) if tier.conv_size else None
        self.selection = Linear(inner, sum(self.splits), bias=False)
        self.steps = Linear(rank, inner)
        nn.init.uniform_(self.steps.weight, -(rank**-0.5), rank**-0.5)
        self.steps.bias = nn.Parameter(initial_step_bias(inner))
        self.A_log = nn.Parameter(torch.arange(1.0, tier.state_size + 1).log()[:, None].repeat(1, inner))
        self.D = nn.Parameter(torch.ones(inner))
        self.out = Linear(inner, tier.hidden, bias=False)

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """See `Layer.forward`. The state holds that of the convolution, and h as (batch, N, I)."""
        past, h = state or (None, None)
        x, gate = self.into(x).chunk(2, dim=-1)
        if self.convolution is not None:
            x, past = self.convolution(x, past)
        x = silu(x)
        ranks, B, C = self.selection(x).split(self.splits, dim=-1)
        steps = softplus(self.steps(ranks))
        y, h = selective_scan(steps * x, steps, -self.A_log.exp(), B, C, h, signed=self.signed)
        added: Tensor = self.out((y + self.D * x) * silu(gate))
        return added, (past, h)


class Mamba2Layer(Layer):
    """See `bilin.models.state_space.mamba2` for the formula."""

    tokens_at_once = 2**14

    def __init__(self, tier: Mamba2) -> None:
        super().__init__()
        inner = tier.expand * tier.hidden
        mixed = inner + 2 * tier.state_size
        self.signed = tier.eigenvalues == "signed"
        self.heads, self.splits = tier.heads, (inner, mixed, tier.heads)
        self.mixed_splits = (inner, tier.state_size, tier.state_size)
        self.into = Linear(tier.hidden, sum(self.splits), bias=False)
        self.convolution = ShortConvolution(mixed, tier.conv_size) if tier.conv_size else None
        self.step_bias = nn.Parameter(initial_step_bias(tier.heads))
        self.A_log = nn.Parameter(initial_log_rates(tier.heads))
        self.D = nn.Parameter(torch.ones(tier.heads))
        self.norm = nn.RMSNorm(inner, eps=1e-5)
        self.out = Linear(inner, tier.hidden, bias=False)

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """See `Layer.forward`. The state holds that of the convolution, and h as (batch, N, I)."""
        past, h = state or (None, None)
        gate, mixed, steps = self.into(x).split(self.splits, dim=-1)
        if self.convolution is not None:
            mixed, past = self.convolution(mixed, past)
        x, B, C = silu(mixed).split(self.mixed_splits, dim=-1)
        x = x.unflatten(2, (self.heads, -1))
        steps = softplus(steps + self.step_bias)
        decay = (-self.A_log.exp() * steps).exp()
        a = 2 * decay - 1 if self.signed else decay
        y, h = scan_in_chunks(steps[..., None] * x, a, B, C, h)
        y = (y + self.D[:, None] * x).flatten(2)
        added: Tensor = self.out(self.norm(y * silu(gate)))
        return added, (past, h)


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
    """Compute h_t = a_t ∘ h_{t-1} + B_t w_tᵀ and y_t = C_tᵀ h_t, from the state h, or from zero.

    The transition a_t is exp(Δ_t A), or 2 exp(Δ_t A) - 1 if ``signed``, with steps Δ > 0 and rates A < 0.

    Returns:
        The outputs y, and the state after the last token.
    """
    if h is None:
        h = w.new_zeros(len(w), *A.shape)
    y, last = in_stack(partial(_scan, signed=signed), w, steps, A, B, C, h)
    return y, last


def _scan(
    w: Tensor, steps: Tensor, A: Tensor, B: Tensor, C: Tensor, h: Tensor, *, signed: bool
) -> tuple[Tensor, Tensor]:
    """Scan the sequences of all members, the first axis."""
    members_and_batch = w.shape[:2]
    w, steps, B, C = (values.flatten(0, 1).transpose(0, 1).contiguous() for values in (w, steps, B, C))
    h = h.flatten(0, 1)
    if torch.is_grad_enabled():
        y, last = _Scan.apply(w, steps, A, B, C, h, signed)  # type: ignore[no-untyped-call]
    else:
        y, last = _run(w, steps, A, B, C, h[None].clone(), signed=signed)
    return y.transpose(0, 1).contiguous().unflatten(0, members_and_batch), last.unflatten(0, members_and_batch)


def _run(
    w: Tensor, steps: Tensor, A: Tensor, B: Tensor, C: Tensor, states: Tensor, *, signed: bool
) -> tuple[Tensor, Tensor]:
    """Start from ``states[0]``; write each state to the next place in ``states``, or over the only one."""
    y, a = torch.empty_like(w), torch.empty_like(states[0])
    a_of_members, steps_of_members, rates = _of_members(a, steps, A)
    for t in range(len(w)):
        before, after = states[t % len(states)], states[(t + 1) % len(states)]
        torch.mul(steps_of_members[t], rates, out=a_of_members)
        _transition_(a.exp_(), signed=signed)
        torch.mul(a, before, out=after).addcmul_(B[t][:, :, None], w[t][:, None])
        torch.bmm(C[t][:, None], after, out=y[t][:, None])
    return y, states[-1]


def _of_members(a: Tensor, steps: Tensor, A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return views of a and Δ, whose rows are those of all members, and of A, such that Δ_t A can be written to a."""
    members = len(A)
    return a.unflatten(0, (members, -1)), steps.unflatten(1, (members, -1)).unsqueeze(3), A.unsqueeze(1)


def _transition_(decay: Tensor, *, signed: bool) -> Tensor:
    """Turn exp(Δ_t A) into a_t, in place."""
    return decay.mul_(2).sub_(1) if signed else decay


class _Scan(torch.autograd.Function):
    """Rows are the sequences of all members, those of the first member first; A is (members, N, I)."""

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
        grad = last_grad.clone()  # of h_t
        A_grads, decay, q = torch.zeros_like(grad), torch.empty_like(grad), torch.empty_like(grad)
        decay_of_members, steps_of_members, rates = _of_members(decay, steps, A)
        q_of_members = q.view_as(decay_of_members)
        for t in reversed(range(len(w))):
            grad.addcmul_(C[t][:, :, None], y_grad[t][:, None])
            torch.bmm(B[t][:, None], grad, out=w_grad[t][:, None])
            torch.bmm(grad, w[t][:, :, None], out=B_grad[t][:, :, None])
            torch.mul(steps_of_members[t], rates, out=decay_of_members)
            decay.exp_()
            torch.mul(grad, states[t], out=q).mul_(decay)  # of Δ_t A, or half of it where signed
            A_grads.addcmul_(q, steps[t][:, None])
            q_of_members.mul_(rates)
            torch.sum(q, 1, out=steps_grad[t])
            grad.mul_(_transition_(decay, signed=ctx.signed))
        slope = 2 if ctx.signed else 1
        A_grad = A_grads.unflatten(0, (len(A), -1)).sum(1) * slope
        return w_grad, steps_grad * slope, A_grad, B_grad, C_grad, grad, None


def scan_in_chunks(
    w: Float[Tensor, "batch time heads width"],
    a: Float[Tensor, "batch time heads"],
    B: Float[Tensor, "batch time states"],
    C: Float[Tensor, "batch time states"],
    h: Float[Tensor, "batch states inner"] | None,
) -> tuple[Float[Tensor, "batch time heads width"], Float[Tensor, "batch states inner"]]:
    """Compute h_t = a_t h_{t-1} + B_t w_tᵀ and y_t = C_tᵀ h_t in each head, from the state h, or from zero.

    Returns:
        The outputs y, and the state after the last token, with the heads concatenated.
    """
    outputs = []
    for chunk in zip(w.split(CHUNK, 1), a.split(CHUNK, 1), B.split(CHUNK, 1), C.split(CHUNK, 1), strict=True):
        y, h = _chunk(*chunk, h)
        outputs.append(y)
    assert h is not None  # there is at least one token
    return torch.cat(outputs, dim=1), h


def _chunk(w: Tensor, a: Tensor, B: Tensor, C: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
    products = _products(a.mT)
    y = (((C @ B.mT)[:, None] * products) @ w.transpose(1, 2)).transpose(1, 2)
    to_end = products[:, :, -1].mT
    last = B.mT @ (to_end[..., None] * w).flatten(2)
    if h is not None:
        from_start = (products[..., 0] * a[:, :1].mT).mT[..., None]
        y = y + from_start * (C @ h).view_as(w)
        last = last + (from_start[:, -1:] * h.unflatten(2, w.shape[2:])).flatten(2)
    return y, last


def _products(a: Float[Tensor, "batch heads time"]) -> Float[Tensor, "batch heads time time"]:
    """Return P_ts = a_t ... a_{s+1} for s <= t, and 0 above; row by row, each from the previous one."""
    row, rows = torch.zeros_like(a), []
    for t, one in enumerate(torch.eye(a.shape[2], dtype=a.dtype, device=a.device)):
        row = row * a[:, :, t, None] + one
        rows.append(row)
    return torch.stack(rows, dim=2)
