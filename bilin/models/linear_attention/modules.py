"""The torch layers of linear attention: gated linear attention, and the delta rule in chunks.

    H  width of the model    d  width of a head    q, k, v, o  query, key, value, output    S  state of a head

The delta rule processes a chunk of L steps at once. Step i writes u_i = β_i (v_i - S'_{i-1} k_i) at its key, where S'
is the state before it, already multiplied by the decay of its token. Let g_ij be the product of the decays after step
j up to step i, and S the state before the chunk:

    u_i = β_i (v_i - g_i0 S k_i) - Σ_{j<i} β_i g_ij (k_i·k_j) u_j        S <- g_L0 S + Σ_j g_Lj u_j k_jᵀ

So one triangular system gives all u of a chunk, and no matrix I - β k kᵀ is formed.

Sources:
    [1] Yang, Wang, Zhang, Shen, Kim: Parallelizing Linear Transformers with the Delta Rule over Sequence Length.
        NeurIPS 2024, arXiv 2406.06484, section 3.
    [2] Yang, Kautz, Hatamizadeh: Gated Delta Networks. ICLR 2025, arXiv 2412.06464, section 3.3: with decay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from bilin.models.layers import Hidden, Layer, Linear, ShortConvolution
from bilin.models.module import State
from bilin.models.pointwise import logsigmoid, sigmoid, silu, softplus
from bilin.models.state_space.modules import initial_log_rates, initial_step_bias

if TYPE_CHECKING:
    from bilin.models.linear_attention.gla import GLA
    from bilin.models.linear_attention.linear_attention import DeltaRule, LinearAttention

STEPS_PER_CHUNK = 32
"""Steps of a chunk, each a product I - β k kᵀ. On CPUs, values from 16 to 64 differ little."""

ROOT = 16
"""The gate of GLA is the root of this order of a sigmoid, so that it starts close to 1."""


class HeadInputs(nn.Module):
    """Queries, keys and values of all heads: a linear map of x, then the short convolution if there is one.

    Shapes: ``projection.weight`` (vectors·H, H): the query first, then the keys, then the values, each with the heads
    in order.
    """

    def __init__(self, tier: LinearAttention, *, vectors: int) -> None:
        super().__init__()
        width = vectors * tier.hidden
        self.shape = (vectors, tier.heads, tier.hidden // tier.heads)
        self.projection = Linear(tier.hidden, width, bias=False)
        self.convolution = ShortConvolution(width, tier.conv_size, bias=False) if tier.conv_size else None

    def forward(
        self, x: Hidden, state: Float[Tensor, "batch past channels"] | None
    ) -> tuple[Float[Tensor, "batch time vectors heads size"], Float[Tensor, "batch past channels"] | None]:
        """Return the vectors, and the state of the convolution."""
        projected = self.projection(x)
        if self.convolution is not None:
            projected, state = self.convolution(projected, state)
        return projected.unflatten(-1, self.shape), state


class HeadOutputs(nn.Module):
    """W_o concat_h( RMSNorm(o_h) ∘ SiLU(W_g x)_h ), or without the gate; all heads share the weights of the norm.

    Shapes: ``norm.weight`` (d), ``gate.weight`` and ``projection.weight`` (H, H).
    """

    def __init__(self, tier: LinearAttention) -> None:
        super().__init__()
        hidden = tier.hidden
        self.norm = nn.RMSNorm(hidden // tier.heads, eps=1e-5)
        self.gate = Linear(hidden, hidden, bias=False) if tier.output_gate else None
        self.projection = Linear(hidden, hidden, bias=False)

    def forward(self, read: Float[Tensor, "batch time heads size"], x: Hidden) -> Hidden:
        """Return the output of the layer, from what its heads read and from its input."""
        outputs = self.norm(read).flatten(-2)
        if self.gate is not None:
            outputs = outputs * silu(self.gate(x))
        projected: Tensor = self.projection(outputs)
        return projected


class GLALayer(Layer):
    """Gated linear attention. The state holds that of the convolution, and S.

    Shapes: ``gate.0.weight`` W_1 (R, H), ``gate.1`` W_2 (H, R) and b (H).
    """

    def __init__(self, tier: GLA) -> None:
        super().__init__()
        self.inputs = HeadInputs(tier, vectors=3)
        self.gate = nn.Sequential(Linear(tier.hidden, tier.rank, bias=False), Linear(tier.rank, tier.hidden))
        self.outputs = HeadOutputs(tier)

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """See `Layer.forward`."""
        convolved, memory = state or (None, None)
        vectors, convolved = self.inputs(x, convolved)
        q, k, v = (vectors if self.inputs.convolution is None else silu(vectors)).unbind(2)
        alpha = (logsigmoid(self.gate(x)) / ROOT).exp().view_as(k)
        if memory is None:
            memory = x.new_zeros(*k.shape[::2], k.shape[3], v.shape[3])
        read, memory = gated_linear_attention(q, k, v, alpha, memory)
        return self.outputs(read, x), (convolved, memory)


def gated_linear_attention(
    q: Float[Tensor, "batch time heads key"],
    k: Float[Tensor, "batch time heads key"],
    v: Float[Tensor, "batch time heads value"],
    alpha: Float[Tensor, "batch time heads key"],
    state: Float[Tensor, "batch heads key value"],
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads key value"]]:
    """Compute S_t = diag(α_t) S_{t-1} + k_t v_tᵀ and o_t = S_tᵀ q_t step by step; return all o and the last S."""
    queries, values = q.unsqueeze(-2).unbind(1), v.unsqueeze(-2).unbind(1)
    keys, factors = k.unsqueeze(-1).unbind(1), alpha.unsqueeze(-1).unbind(1)
    read = []
    for query, key, value, factor in zip(queries, keys, values, factors, strict=True):
        state = torch.addcmul(factor * state, key, value)
        read.append(query @ state)
    return torch.stack(read, dim=1).squeeze(-2), state


class DeltaLayer(Layer):
    """The delta rule, with n products per token. The state holds that of the convolution, and S.

    Shapes: ``beta.weight`` (n·heads, H), all heads of the first product first.
    """

    def __init__(self, tier: DeltaRule) -> None:
        super().__init__()
        self.num_products = tier.num_products
        self.max_beta = 2.0 if tier.eigenvalues == "signed" else 1.0
        self.inputs = HeadInputs(tier, vectors=1 + 2 * tier.num_products)
        self.beta = Linear(tier.hidden, tier.num_products * tier.heads, bias=False)
        self.decay = Decay(tier.hidden, tier.heads) if tier.decays else None
        self.outputs = HeadOutputs(tier)

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """See `Layer.forward`."""
        convolved, memory = state or (None, None)
        vectors, convolved = self.inputs(x, convolved)
        q, k, v = silu(vectors).split([1, self.num_products, self.num_products], dim=2)
        q, k = normalize(q, dim=-1), normalize(k, dim=-1)
        beta = self.max_beta * sigmoid(self.beta(x)).view(k.shape[:-1])
        log_alpha = self.decay(x) if self.decay is not None else None
        if memory is None:
            memory = x.new_zeros(len(x), k.shape[3], v.shape[4], k.shape[4])
        read, memory = delta_rule(q.squeeze(2), k, v, beta, log_alpha, memory)
        return self.outputs(read, x), (convolved, memory)


class Decay(nn.Module):
    """log α = -exp(A_log) softplus(W_α x + b), one number per head.

    Initial values are those of Mamba-2, but exp(A_log) is uniform from 0 on, as in the authors' code.

    Shapes: ``rate.weight`` W_α (heads, H), ``rate.bias`` b and ``log_scale`` A_log (heads).
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(initial_log_rates(heads, least=0.0))
        self.rate = Linear(hidden, heads)
        self.rate.bias = nn.Parameter(initial_step_bias(heads))

    def forward(self, x: Hidden) -> Float[Tensor, "batch time heads"]:
        """Return the logarithm of the factor of each head, at most 0."""
        return -self.log_scale.exp() * softplus(self.rate(x))


def delta_rule(
    q: Float[Tensor, "batch time heads key"],
    k: Float[Tensor, "batch time products heads key"],
    v: Float[Tensor, "batch time products heads value"],
    beta: Float[Tensor, "batch time products heads"],
    log_alpha: Float[Tensor, "batch time heads"] | None,
    state: Float[Tensor, "batch heads value key"],
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads value key"]]:
    """Compute S <- α_t S, then S <- S (I - β k kᵀ) + β v kᵀ for each product, and o_t = S q_t.

    Keys have norm 1. Without ``log_alpha`` there is no decay. Returns all o and the last S.
    """
    tokens_per_chunk = max(1, STEPS_PER_CHUNK // k.shape[2])
    read = []
    for start in range(0, q.shape[1], tokens_per_chunk):
        now = slice(start, start + tokens_per_chunk)
        decay = None if log_alpha is None else log_alpha[:, now]
        outputs, state = _chunk(q[:, now], k[:, now], v[:, now], beta[:, now], decay, state)
        read.append(outputs)
    return torch.cat(read, dim=2).transpose(1, 2), state


def _chunk(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_alpha: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    products = k.shape[2]
    q = q.transpose(1, 2)  # batch, heads, time, key
    k, v, beta = (part.flatten(1, 2).transpose(1, 2) for part in (k, v, beta.unsqueeze(-1)))  # batch, heads, steps, ·
    time = q.shape[2]
    if log_alpha is None:
        from_start, between = q.new_ones(time, 1), q.new_ones(time, time).tril()
    else:
        total = log_alpha.mT.cumsum(-1).unsqueeze(-1)  # batch, heads, time, 1
        from_start, between = total.exp(), (total - total.mT).tril().exp().tril()
    seen = between.repeat_interleave(products, dim=-1)  # ..., time, steps
    before = seen.repeat_interleave(products, dim=-2)  # ..., steps, steps; only the part below the diagonal is used
    erased = beta * k
    rest = beta * v - from_start.repeat_interleave(products, dim=-2) * (erased @ state.mT)
    written = torch.linalg.solve_triangular(before * (erased @ k.mT), rest, upper=False, unitriangular=True)
    outputs = from_start * (q @ state.mT) + (seen * (q @ k.mT)) @ written
    state = from_start[..., -1:, :] * state + (seen[..., -1, :, None] * written).mT @ k
    return outputs, state
