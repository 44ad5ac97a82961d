"""The iteration to a fixed point: when it ends, how it is damped, and how many steps a training batch gets.

Sources: see `bilin.models.fixed_point.implicit`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.fixed_point.implicit import Implicit

Iterate: TypeAlias = Float[Tensor, "batch time width"]

TOKENS_AT_ONCE = 2**13
"""Tokens per call in an evaluation: less than for other layers, since an iteration passes over each token often."""


class Solver(nn.Module):
    """All applications of f except the last one, without gradient.

    Buffers, if the number of iterations is drawn: the seed of the draws, and how many there were.
    """

    draw_seed: Tensor
    num_draws: Tensor

    def __init__(self, tier: Implicit) -> None:
        super().__init__()
        self.tier = tier
        if tier.iterations == "gamma":
            self.register_buffer("draw_seed", torch.randint(2**62, ()))
            self.register_buffer("num_draws", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, f: Callable[[Tensor], Tensor], start: Iterate) -> Iterate:
        """Return the point at which to apply f once more, with gradient."""
        tier, y = self.tier, start
        share = tier.training_share if self.training else tier.evaluation_share
        limit = tier.max_iterations if self.training else tier.evaluation_iterations
        if self.training and tier.iterations == "gamma":
            self.num_draws += 1
            limit = min(limit, gamma_draw(int(self.draw_seed + self.num_draws)))
        # Of each sequence: the weight of a new iterate, the least residual so far, and how long it may stay the least.
        weight = start.new_full((len(start), 1, 1), tier.damping)
        least = start.new_full((len(start),), torch.inf)
        left = torch.full_like(least, tier.patience)
        for _ in range(limit - 1):
            proposed = f(y)
            residual = relative_residual(y, proposed)
            y = torch.lerp(y, proposed, weight)
            # A residual that is not finite also counts as converged: more steps would not repair it.
            if (~(residual >= tier.tolerance)).double().mean() >= share:
                break
            left = torch.where(residual < least, tier.patience, left - 1)
            least = torch.where(residual < least, residual, least)
            weight = torch.where((left == 0)[:, None, None], tier.damping_decay * weight, weight)
            left = torch.where(left == 0, tier.patience, left)
        return y


def gamma_draw(seed: int) -> int:
    """Draw a number from Gamma(4, 1), the sum of four exponential ones, rounded up."""
    uniform = torch.rand(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return max(1, int((-(1 - uniform).log().sum()).ceil()))


def relative_residual(before: Iterate, after: Iterate) -> Float[Tensor, " batch"]:
    """Return the maximum over time of ||after - before||_inf / ||after||_inf, for each sequence."""
    change, size = (after - before).abs().amax(-1), after.abs().amax(-1)
    return (change / (size + 1e-8)).amax(1)
