"""FP-Mamba's fixed point against equations 12 and 13, one sequence and one time after the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bilin.models.fixed_point.fp_mamba import FPMamba
from tests.models.fixed_point.twins import mamba_applied_once
from tests.models.formulas import normal, silu

SEEN = ("mixer_sees_output", "lambda_sees_output", "b_sees_output", "c_sees_output")
EXACT = {"tolerance": 1e-11, "max_iterations": 400, "training_share": 1.0, "eigenvalues": "positive"}


def layer_of(**fields: Any) -> Any:
    tier = FPMamba(hidden=3, state_size=2, **fields)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        (layer,) = tier.make_layers()
        return tier, layer.double()


def by_twin(layer: Any, x: Any, outputs_of: Any) -> Any:
    inner, gates = (x @ layer.inward.weight.T).chunk(2, dim=-1)
    outputs = torch.stack([outputs_of(row) for row in inner])
    before = torch.cat([torch.zeros_like(outputs[:, :1]), outputs[:, :-1]], 1)
    return (silu(gates + before @ layer.gate.weight.T) * outputs) @ layer.outward.weight.T


@pytest.mark.parametrize(
    ("mixer", "rank", "sees"),
    [("householder", 2, SEEN), ("dplr", 2, ()), ("kronecker", 1, ("mixer_sees_output", "b_sees_output"))],
)
def test_the_fixed_point_and_its_gradient_are_those_of_the_equations(mixer: str, rank: int, sees: Any) -> None:
    seen = {name: name in sees for name in SEEN}
    tier, layer = layer_of(mixer=mixer, mixer_rank=rank, damping=0.6, damping_decay=1.0, **EXACT, **seen)
    x, direction = normal(2, 3, 3).requires_grad_(), normal(2, 3, 3, seed=1)

    solutions = []
    layer.solver.register_forward_hook(lambda _, __, solution: solutions.extend(solution))
    outputs = layer(x)[0]
    fixed = iter(solutions)
    applied = by_twin(layer, x, lambda inner: mamba_applied_once(tier, layer, inner, next(fixed)))
    ours, twins = (
        [values, *torch.autograd.grad((values * direction).sum(), [x, *layer.parameters()])]
        for values in (outputs, applied)
    )
    torch.testing.assert_close(ours, twins, rtol=1e-6, atol=1e-9)
    fixed = iter(solutions)
    torch.testing.assert_close(by_twin(layer, x, lambda _: next(fixed)), outputs)


def test_one_iteration_is_a_selective_state_space_model() -> None:
    tier, layer = layer_of(max_iterations=1)
    x = normal(2, 5, 3)
    diagonal = by_twin(layer, x, lambda inner: mamba_applied_once(tier, layer, inner, torch.zeros_like(inner)))
    torch.testing.assert_close(layer(x)[0], diagonal)
