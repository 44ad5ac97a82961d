"""Gated linear attention against its equations, with explicit matrices."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bilin.models.linear_attention.gla import GLA
from bilin.models.linear_attention.modules import GLALayer
from tests.models.formulas import convolved, sigmoid, silu
from tests.models.linear_attention.twins import added, assert_alike


def equations(tier: GLA, layer: Any, x: torch.Tensor) -> torch.Tensor:
    """S_t = diag(α_t) S_{t-1} + k_t v_tᵀ and o_t = S_tᵀ q_t, for one sequence."""
    d = tier.hidden // tier.heads
    vectors = x @ layer.inputs.projection.weight.T
    if tier.conv_size:
        vectors = silu(torch.stack(convolved(layer.inputs.convolution, vectors)))
    states, rows = [torch.zeros(d, d, dtype=x.dtype) for _ in range(tier.heads)], []
    for t in range(len(x)):
        gate = layer.gate[1].weight @ (layer.gate[0].weight @ x[t]) + layer.gate[1].bias
        alpha, (q, k, v) = sigmoid(gate) ** (1 / 16), vectors[t].split(tier.hidden)
        read = []
        for head in range(tier.heads):
            its = slice(head * d, (head + 1) * d)
            states[head] = torch.diag(alpha[its]) @ states[head] + torch.outer(k[its], v[its])
            read.append(states[head].T @ q[its])
        rows.append(added(layer, read, x[t]))
    return torch.stack(rows)


@pytest.mark.parametrize("length", [1, 9])
@pytest.mark.parametrize("fields", [{}, {"conv_size": 3}, {"heads": 1, "output_gate": False, "rank": 1}])
def test_a_layer_is_what_the_equations_say(fields: dict[str, Any], length: int) -> None:
    torch.manual_seed(0)
    tier = GLA(**{"hidden": 6, "heads": 2, "rank": 3} | fields)
    layer = GLALayer(tier).double()
    assert_alike(layer, lambda x: equations(tier, layer, x), hidden=6, length=length)


def test_heads_must_divide_the_width() -> None:
    assert GLA(hidden=6, heads=3).problems() == {}
    assert GLA(hidden=6, heads=4).problems() == {"heads": "a divisor of hidden (6)"}
