"""The steps Δ with which selective state spaces go through time."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

SHORTEST, LONGEST = 1e-3, 1e-1


def initial_step_bias(channels: int) -> Float[Tensor, " channels"]:
    """Draw b such that softplus(b) is log-uniform between `SHORTEST` and `LONGEST`."""
    steps = torch.empty(channels).uniform_(math.log(SHORTEST), math.log(LONGEST)).exp()
    return steps + (-torch.expm1(-steps)).log()  # softplus inverted: log(e^Δ - 1), without the large exponential
