"""The equations of the papers, number by number: slow, and sharing no code with the modules."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def softplus(x: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(x))


def convolved(layer: torch.nn.Module, projected: Tensor) -> Tensor:
    """Σ_i w_i x_{t-i} for every channel; (time, channels)."""
    weight = layer.inputs.convolution.convolution.weight[:, 0]
    reach = range(weight.shape[1])
    return torch.stack([sum(weight[:, ~i] * projected[t - i] for i in reach if i <= t) for t in range(len(projected))])


def added(layer: torch.nn.Module, read: list[Tensor], x: Tensor) -> Tensor:
    """W_o concat_h( RMSNorm(o_h) ∘ SiLU(W_g x)_h ), for what the heads read at one time."""
    normed = [layer.outputs.norm.weight * o / torch.sqrt((o * o).mean() + 1e-5) for o in read]
    joined = torch.cat(normed)
    if layer.outputs.gate is not None:
        joined = joined * silu(layer.outputs.gate.weight @ x)
    return layer.outputs.projection.weight @ joined


def assert_alike(layer: torch.nn.Module, twin: Callable[[Tensor], Tensor], *, hidden: int, length: int) -> None:
    """The same values, and the same gradients of the input and of every weight."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, length, hidden, dtype=torch.float64, generator=generator, requires_grad=True)
    direction = torch.randn(2, length, hidden, dtype=torch.float64, generator=generator)
    found = []
    for outputs in (layer(x)[0], torch.stack([twin(row) for row in x])):
        weights = [x, *layer.parameters()]
        found.append([outputs, *torch.autograd.grad((outputs * direction).sum(), weights)])
    torch.testing.assert_close(found[0], found[1], rtol=1e-7, atol=1e-10)
