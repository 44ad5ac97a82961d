"""What is done in each head by itself: a linear map and a norm."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class HeadLinear(nn.Module):
    """y = W_h x for each head h: a block-diagonal map without bias.

    Shapes: weight (heads, P, outputs); initially N(0, 2 / (5 width)), as in the authors' code.
    """

    def __init__(self, heads: int, head_width: int, outputs: int, *, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(small_std(width) * torch.randn(heads, head_width, outputs))

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch heads time outputs"]:
        """The map of every head, on its part of the width."""
        return torch.einsum("bthp,hpq->bhtq", x.unflatten(-1, (self.weight.shape[0], -1)), self.weight)


class HeadNorm(nn.Module):
    """Each head minus its mean, over its standard deviation, times a weight: a group norm whose groups are heads.

    Shapes: weight (heads · P).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "batch time heads head_width"]) -> Float[Tensor, "batch time width"]:
        """The heads, normed and side by side."""
        return self.weight * nn.functional.layer_norm(x, x.shape[-1:]).flatten(-2)


def small_std(width: int) -> float:
    """Initial standard deviation of maps from a residual stream of this width (Nguyen, Salazar 2019)."""
    return math.sqrt(2 / (5 * width))
