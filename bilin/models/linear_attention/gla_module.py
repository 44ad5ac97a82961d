"""The layer of gated linear attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.layers import Layer
from bilin.models.linear_attention.heads import HeadInputs, HeadOutputs
from bilin.models.module import State

if TYPE_CHECKING:
    from bilin.models.linear_attention.gla import GLA

TEMPERATURE = 16
"""The gate is the root of this order of a sigmoid, close to 1 from the beginning."""


class GLALayer(Layer):
    """Gated linear attention of several heads; its state is that of the convolution and S.

    Shapes: ``gate.0.weight`` W_1 (R, H), ``gate.1`` W_2 (H, R) and b (H).
    """

    def __init__(self, tier: GLA) -> None:
        super().__init__()
        self.inputs = HeadInputs(tier, vectors=3)
        self.gate = nn.Sequential(nn.Linear(tier.hidden, tier.rank, bias=False), nn.Linear(tier.rank, tier.hidden))
        self.outputs = HeadOutputs(tier)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`."""
        convolved, memory = state or (None, None)
        vectors, convolved = self.inputs(x, convolved)
        q, k, v = (vectors if self.inputs.convolution is None else nn.functional.silu(vectors)).unbind(2)
        alpha = (nn.functional.logsigmoid(self.gate(x)) / TEMPERATURE).exp().view_as(k)
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
    """S_t = diag(α_t) S_{t-1} + k_t v_tᵀ and o_t = S_tᵀ q_t, step by step: what is read, and the last state."""
    queries, values = q.unsqueeze(-2).unbind(1), v.unsqueeze(-2).unbind(1)
    keys, kept = k.unsqueeze(-1).unbind(1), alpha.unsqueeze(-1).unbind(1)
    read = []
    for query, key, value, factor in zip(queries, keys, values, kept, strict=True):
        state = torch.addcmul(factor * state, key, value)
        read.append(query @ state)
    return torch.stack(read, dim=1).squeeze(-2), state
