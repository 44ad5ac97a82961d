"""The short convolution against torch's."""

from __future__ import annotations

import pytest
import torch

from bilin.models.layers import ShortConvolution


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("size", "length"), [(1, 3), (4, 1), (4, 9)])
def test_it_is_a_causal_convolution_of_every_channel(size, length, bias):
    torch.manual_seed(0)
    ours = ShortConvolution(5, size, bias=bias).double()
    x = torch.randn(3, length, 5, dtype=torch.float64, requires_grad=True)
    y, _ = ours(x)
    expected = ours.convolution(torch.nn.functional.pad(x.mT, (size - 1, 0))).mT
    torch.testing.assert_close(y, expected)
    leaves = [x, *ours.parameters()]
    torch.testing.assert_close(*(torch.autograd.grad(values.square().sum(), leaves) for values in (y, expected)))
