"""What a step's parameters are made of: its input, and the output of the step before."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Projection(nn.Module):
    """W x_t + β + V y_{t-1}, the last one only where it sees the output.

    The part of the input is the same in all iterations, so it is asked for apart.

    Shapes: ``of_input.weight`` W (M, E), ``of_input.bias`` β (M), ``of_output.weight`` V (M, E).
    """

    def __init__(self, width: int, numbers: int, *, sees_output: bool, bias: bool = False) -> None:
        super().__init__()
        self.of_input = nn.Linear(width, numbers, bias=bias)
        self.of_output = nn.Linear(width, numbers, bias=False) if sees_output else None

    def forward(
        self, of_input: Float[Tensor, "batch time numbers"], before: Float[Tensor, "batch time width"]
    ) -> Float[Tensor, "batch time numbers"]:
        """The sum, from W x_t + β and y_{t-1}."""
        return of_input if self.of_output is None else of_input + self.of_output(before)


def delayed(
    y: Float[Tensor, "batch time width"], first: Float[Tensor, "batch width"]
) -> Float[Tensor, "batch time width"]:
    """y_{t-1} at every time, with what stands before the first."""
    return torch.cat([first[:, None], y[:, :-1]], 1)
