"""When the iteration ends, how it is damped, and how the number of its steps is drawn."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bilin.models.fixed_point.fixed_point import FixedPoint
from bilin.models.fixed_point.modules import Solver, gamma_draw


class Counted:
    """y <- rate · y + 1, each sequence at a rate of its own, towards 1 / (1 - rate)."""

    def __init__(self, *rates: Any) -> None:
        self.rates = torch.tensor(rates, dtype=torch.float64)[:, None, None]
        self.calls = 0

    def __call__(self, y: Any) -> Any:
        self.calls += 1
        return self.rates * y + 1

    @property
    def start(self) -> Any:
        return torch.zeros(len(self.rates), 3, 2, dtype=torch.float64)


def steps_until(rate: float, tolerance: float) -> Any:
    """How many steps until the relative change is below the tolerance, for y_l = 1 + rate + … + rate^(l-1)."""
    return next(
        steps for steps in range(1, 10_000) if rate ** (steps - 1) / sum(rate**k for k in range(steps)) < tolerance
    )


@pytest.mark.parametrize(("share", "slowest"), [(0.25, 0.5), (0.26, 0.8), (0.5, 0.8), (0.75, 0.9), (1.0, 0.95)])
@pytest.mark.parametrize("training", [True, False])
def test_it_ends_when_the_share_of_sequences_has_converged(share: float, slowest: float, training: bool) -> None:
    shares: dict[str, Any] = (
        {"training_share": share, "evaluation_share": 1.0} if training else {"evaluation_share": share}
    )
    f = Counted(0.5, 0.8, 0.9, 0.95)
    Solver(FixedPoint(tolerance=0.01, max_iterations=1000, **shares)).train(training)(f, f.start)
    assert f.calls == steps_until(slowest, 0.01)


@pytest.mark.parametrize("training", [True, False])
def test_it_ends_one_application_before_the_greatest_number(training: bool) -> None:
    limits: dict[str, Any] = {"max_iterations": 7} if training else {"evaluation_iterations": 7}
    f = Counted(0.99)
    Solver(FixedPoint(tolerance=1e-9, **limits)).train(training)(f, f.start)
    assert f.calls == 6


def test_it_ends_where_nothing_is_finite() -> None:
    f = Counted(math.nan)
    Solver(FixedPoint(max_iterations=50))(f, f.start)
    assert f.calls == 1


def damped_by_hand(rate: float, *, steps: int, weight: Any, decay: Any, patience: int) -> Any:
    """One number, in plain Python."""
    y, least, left = 0.0, math.inf, patience
    for _ in range(steps):
        proposed = rate * y + 1
        residual = abs(proposed - y) / (abs(proposed) + 1e-8)
        y += weight * (proposed - y)
        left = patience if residual < least else left - 1
        least = min(least, residual)
        if left == 0:
            weight, left = weight * decay, patience
    return y


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_damping_decays_for_each_sequence_by_itself_when_patience_ends(patience: int) -> None:
    rates = (-1.2, 0.5, -3.0)
    f = Counted(*rates)
    tier = FixedPoint(tolerance=1e-300, max_iterations=31, damping=0.9, damping_decay=0.8, patience=patience)
    y = Solver(tier)(f, f.start)
    expected = [damped_by_hand(rate, steps=30, weight=0.9, decay=0.8, patience=patience) for rate in rates]
    torch.testing.assert_close(y[:, 0, 0], torch.tensor(expected, dtype=torch.float64))


def test_damping_reaches_a_fixed_point_that_repels() -> None:
    f = Counted(-1.5)
    tier = FixedPoint(tolerance=1e-10, max_iterations=400, patience=3)
    y = Solver(tier)(f, f.start)
    torch.testing.assert_close(y, torch.full_like(y, 1 / 2.5))
    assert f.calls < 399


def draws(solver: Any, count: int) -> Any:
    found = []
    for _ in range(count):
        f = Counted(0.999)
        solver(f, f.start)
        found.append(f.calls + 1)
    return found


def gamma_solver(seed: int, limit: int = 100) -> Any:
    torch.manual_seed(seed)
    return Solver(FixedPoint(iterations="gamma", max_iterations=limit, tolerance=1e-9))


def test_draws_repeat_under_a_seed_and_go_on_from_a_saved_state() -> None:
    with torch.random.fork_rng():
        one, same, other = gamma_solver(0), gamma_solver(0), gamma_solver(1)
        first = draws(one, 20)
        assert first == draws(same, 20)
        assert first != draws(other, 20)
        other.load_state_dict(one.state_dict())
        assert draws(one, 20) == draws(other, 20)


def test_draws_are_those_of_a_gamma_distribution_rounded_up() -> None:
    found = torch.tensor([gamma_draw(torch.tensor(seed)) for seed in range(4000)])
    # P(X <= x) = 1 - e^-x (1 + x + x²/2 + x³/6) for Gamma(4, 1)
    for most in (2, 4, 8):
        exact = 1 - math.exp(-most) * sum(most**k / math.factorial(k) for k in range(4))
        assert abs((found <= most).double().mean().item() - exact) < 0.03


def test_draws_end_at_the_greatest_number_and_are_for_training_alone() -> None:
    with torch.random.fork_rng():
        solver = gamma_solver(0, limit=4)
        assert set(draws(solver, 20)) == {2, 3, 4}
        drawn = int(solver.num_draws)
        f = Counted(0.5)
        solver.eval()(f, f.start)
        assert f.calls > 3
        assert int(solver.num_draws) == drawn == 20
