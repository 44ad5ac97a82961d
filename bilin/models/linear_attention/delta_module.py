"""The layer of every tier of the delta rule: β, decay, and the recurrence in chunks.

Within a chunk of L steps, each step i writes u_i = β_i (v_i - S'_{i-1} k_i) at its key, where S' is the state it
meets, the decay of its token already upon it. With g_ij the product of the decays after step j up to step i, and S
the state before the chunk,

    u_i = β_i (v_i - g_i0 S k_i) - Σ_{j<i} β_i g_ij (k_i·k_j) u_j        S <- g_L0 S + Σ_j g_Lj u_j k_jᵀ

so that all u of a chunk come from one triangular system, and no matrix I - β k kᵀ is formed.

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

from bilin.models.layers import Layer
from bilin.models.linear_attention.heads import HeadInputs, HeadOutputs
from bilin.models.module import State
from bilin.models.state_space.steps import initial_log_rates, initial_step_bias

if TYPE_CHECKING:
    from bilin.models.linear_attention.delta_rule import DeltaRule

STEPS_AT_ONCE = 32
"""Steps of a chunk, each a product I - β k kᵀ. Between 16 and 64 on CPUs it makes little difference."""


class DeltaLayer(Layer):
    """The delta rule in several heads, with n products a token; its state is that of the convolution and S.

    Shapes: ``beta.weight`` (n·heads, H), all heads of the first product first.
    """

    def __init__(self, tier: DeltaRule) -> None:
        super().__init__()
        self.num_products = tier.num_products
        self.greatest_beta = 2.0 if tier.eigenvalues == "signed" else 1.0
        self.inputs = HeadInputs(tier, vectors=1 + 2 * tier.num_products)
        self.beta = nn.Linear(tier.hidden, tier.num_products * tier.heads, bias=False)
        self.decay = Decay(tier.hidden, tier.heads) if tier.decays else None
        self.outputs = HeadOutputs(tier)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`."""
        convolved, memory = state or (None, None)
        vectors, convolved = self.inputs(x, convolved)
        q, k, v = nn.functional.silu(vectors).split([1, self.num_products, self.num_products], dim=2)
        q, k = (nn.functional.normalize(directions, dim=-1) for directions in (q, k))
        beta = self.greatest_beta * self.beta(x).sigmoid().view(k.shape[:-1])
        log_alpha = self.decay(x) if self.decay is not None else None
        if memory is None:
            memory = x.new_zeros(len(x), k.shape[3], v.shape[4], k.shape[4])
        read, memory = delta_rule(q.squeeze(2), k, v, beta, log_alpha, memory)
        return self.outputs(read, x), (convolved, memory)


class Decay(nn.Module):
    """log α = -exp(A_log) softplus(W_a x + b), one number a head, with the initial values of Mamba-2 [2].

    Shapes: ``rate.weight`` W_a (heads, H), ``rate.bias`` b and ``log_scale`` A_log (heads).
    """

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(initial_log_rates(heads))
        self.rate = nn.Linear(hidden, heads)
        self.rate.bias = nn.Parameter(initial_step_bias(heads))

    def forward(self, x: Float[Tensor, "batch time hidden"]) -> Float[Tensor, "batch time heads"]:
        """The logarithm of each head's factor, at most 0."""
        return -self.log_scale.exp() * nn.functional.softplus(self.rate(x))


def delta_rule(
    q: Float[Tensor, "batch time heads key"],
    k: Float[Tensor, "batch time products heads key"],
    v: Float[Tensor, "batch time products heads value"],
    beta: Float[Tensor, "batch time products heads"],
    log_alpha: Float[Tensor, "batch time heads"] | None,
    state: Float[Tensor, "batch heads value key"],
) -> tuple[Float[Tensor, "batch time heads value"], Float[Tensor, "batch heads value key"]]:
    """α_t S, then S <- S (I - β k kᵀ) + β v kᵀ for each product, o_t = S q_t: what is read, and the last state.

    Args:
        q: Queries.
        k: Keys of norm 1.
        v: Values.
        beta: How far each product goes.
        log_alpha: The logarithm of each token's decay; None for no decay.
        state: S before the first token.
    """
    tokens_at_once = max(1, STEPS_AT_ONCE // k.shape[2])
    read = []
    for start in range(0, q.shape[1], tokens_at_once):
        now = slice(start, start + tokens_at_once)
        faded = None if log_alpha is None else log_alpha[:, now]
        outputs, state = _chunk(q[:, now], k[:, now], v[:, now], beta[:, now], faded, state)
        read.append(outputs)
    return torch.cat(read, dim=2).transpose(1, 2), state


def _chunk(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, log_alpha: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    products = k.shape[2]
    q = q.transpose(1, 2)  # batch, heads, time, key
    k, v, beta = (part.flatten(1, 2).transpose(1, 2) for part in (k, v, beta.unsqueeze(-1)))  # batch, heads, steps, ·
    start, between = _decays(log_alpha, q)
    seen = between.repeat_interleave(products, dim=-1)  # ..., time, steps
    before = seen.repeat_interleave(products, dim=-2)  # ..., steps, steps; what follows looks below the diagonal alone
    erased = beta * k
    rest = beta * v - start.repeat_interleave(products, dim=-2) * (erased @ state.mT)
    written = torch.linalg.solve_triangular(before * (erased @ k.mT), rest, upper=False, unitriangular=True)
    outputs = start * (q @ state.mT) + (seen * (q @ k.mT)) @ written
    state = start[..., -1:, :] * state + (seen[..., -1, :, None] * written).mT @ k
    return outputs, state


def _decays(log_alpha: Tensor | None, q: Tensor) -> tuple[Tensor, Tensor]:
    """How much is left at each token: of the chunk's beginning, (time, 1), and of each token, (time, time)."""
    time = q.shape[2]
    if log_alpha is None:
        return q.new_ones(time, 1), q.new_ones(time, time).tril()
    total = log_alpha.mT.cumsum(-1).unsqueeze(-1)  # batch, heads, time, 1
    return total.exp(), (total - total.mT).tril().exp().tril()
