"""The building blocks of layered tiers: the short convolution against torch's, the perceptron against its formula."""

from __future__ import annotations

import pytest
import torch

from bilin.models.layers import ShortConvolution, SwiGLU, linear
from bilin.testing.tiers import assert_same
from tests.models.formulas import gradients, normal, silu


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("size", "length"), [(1, 3), (4, 1), (4, 9)])
def test_it_is_a_causal_convolution_of_every_channel(size: int, length: int, bias: bool) -> None:
    torch.manual_seed(0)
    ours = ShortConvolution(5, size, bias=bias).double()
    x = torch.randn(3, length, 5, dtype=torch.float64, requires_grad=True)
    y, _ = ours(x)
    expected = ours.convolution(torch.nn.functional.pad(x.mT, (size - 1, 0))).mT
    torch.testing.assert_close(y, expected)
    leaves = [x, *ours.parameters()]
    torch.testing.assert_close(*(torch.autograd.grad(values.square().sum(), leaves) for values in (y, expected)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(64, 64, 5), (640, 64, 192), (13, 8, 4), (640, 1, 32), (1, 9, 9), (7, 30, 1)]
)
def test_a_linear_map_has_the_same_bits_in_a_stack(
    rows: int, inputs: int, outputs: int, members: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    shapes = ((10, rows, inputs), (outputs, inputs), (outputs,))
    tensors = [torch.randn(members, *shape, dtype=dtype, requires_grad=True) for shape in shapes]
    stacked = torch.func.vmap(linear)(*tensors)
    alone = torch.stack([linear(*each) for each in zip(*tensors, strict=True)])
    weights = torch.randn_like(stacked)
    assert_same(stacked, alone)
    for found, expected in zip(*((gradients(y * weights, tensors)) for y in (stacked, alone)), strict=True):
        assert_same(found, expected)


@pytest.mark.parametrize(("hidden", "width"), [(6, 16), (7, 18), (64, 170)])
def test_it_is_its_formula_and_8_3_as_wide(hidden: int, width: int) -> None:
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
