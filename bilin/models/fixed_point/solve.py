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
        y, damping = start, Damping(self.tier, start)
        share = self.tier.training_share if self.training else self.tier.evaluation_share
        for _ in range(self._limit() - 1):
            proposed = f(y)
            residual = relative_residual(y, proposed)
            y = torch.lerp(y, proposed, damping.weight)
            # A residual that is not finite also counts as converged: more steps would not repair it.
            if (~(residual >= self.tier.tolerance)).double().mean() >= share:
                break
            damping.update(residual)
        return y

    def _limit(self) -> int:
        if not self.training:
            return self.tier.evaluation_iterations
        if self.tier.iterations == "fixed":
            return self.tier.max_iterations
        self.num_draws += 1
        return min(gamma_draw(int(self.draw_seed + self.num_draws)), self.tier.max_iterations)


def gamma_draw(seed: int) -> int:
    """Draw a number from Gamma(4, 1), the sum of four exponential ones, rounded up."""
    uniform = torch.rand(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return max(1, int((-(1 - uniform).log().sum()).ceil()))


def relative_residual(before: Iterate, after: Iterate) -> Float[Tensor, " batch"]:
    """Return the maximum over time of ||after - before||_inf / ||after||_inf, for each sequence."""
    change, size = (after - before).abs().amax(-1), after.abs().amax(-1)
    return (change / (size + 1e-8)).amax(1)


class Damping:
    """The weight of a new iterate, for each sequence separately.

    The weight decays when the residual has not reached a new minimum for ``patience`` steps.
    """

    def __init__(self, tier: Implicit, like: Iterate) -> None:
        self.tier = tier
        self.weight = like.new_full((len(like), 1, 1), tier.damping)
        self._least = like.new_full((len(like),), torch.inf)
        self._left = torch.full_like(self._least, tier.patience)

    def update(self, residual: Float[Tensor, " batch"]) -> None:
        """Record the residuals of a step."""
        lower = residual < self._least
        self._least = torch.where(lower, residual, self._least)
        self._left = torch.where(lower, self.tier.patience, self._left - 1)
        spent = self._left == 0
        self._left = torch.where(spent, self.tier.patience, self._left)
        self.weight = torch.where(spent[:, None, None], self.tier.damping_decay * self.weight, self.weight)
