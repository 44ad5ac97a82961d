"""The gated perceptron against its formula, one vector after the other."""

from __future__ import annotations

import pytest
import torch

from bilin.models.layers import SwiGLU
from tests.models.by_hand import gradients, normal, silu


@pytest.mark.parametrize(("hidden", "width"), [(6, 16), (7, 18), (64, 170)])
def test_it_is_its_formula_and_8_3_as_wide(hidden, width):
    torch.manual_seed(0)
    layer, x = SwiGLU(hidden).double(), normal(2, 3, hidden).requires_grad_()
    assert layer.inputs.weight.shape == (2 * width, hidden)
    assert layer.output.weight.shape == (hidden, width)
    gate, value = layer.inputs.weight[:width], layer.inputs.weight[width:]
    rows = [[layer.output.weight @ (silu(gate @ v) * (value @ v)) for v in row] for row in x]
    expected = torch.stack([torch.stack(row) for row in rows])
    found, state = layer(x)
    assert state is None
    leaves = [x, *layer.parameters()]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, leaves), gradients(expected, leaves))
