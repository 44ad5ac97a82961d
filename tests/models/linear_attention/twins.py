"""The equations of the papers, number by number: slow, and sharing no code with the modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.models.formulas import rms_norm, silu


def added(layer: Any, read: list[Tensor], x: Tensor) -> Any:
    """W_o concat_h( RMSNorm(o_h) ∘ SiLU(W_g x)_h ), for what the heads read at one time."""
    joined = torch.cat([rms_norm(o, layer.outputs.norm.weight) for o in read])
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
