"""First values of the steps Δ with which selective state spaces go through time, and of the rates of decay of heads."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

SHORTEST, LONGEST = 1e-3, 1e-1
SLOWEST, FASTEST = 1.0, 16.0


def initial_step_bias(channels: int) -> Float[Tensor, " channels"]:
    """Draw b such that softplus(b) is log-uniform between `SHORTEST` and `LONGEST`."""
    steps = torch.empty(channels).uniform_(math.log(SHORTEST), math.log(LONGEST)).exp()
    return steps + (-torch.expm1(-steps)).log()  # softplus inverted: log(e^Δ - 1), without the large exponential


def initial_log_rates(heads: int) -> Float[Tensor, " heads"]:
    """Draw the logarithms of rates that are uniform between `SLOWEST` and `FASTEST`, as for Mamba-2."""
    return torch.empty(heads).uniform_(SLOWEST, FASTEST).log()
