"""The converged iteration against the dense recurrence of its equations, and its gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bilin.fields import fields_of
from bilin.models.fixed_point.fixed_point import FixedPoint
from bilin.models.fixed_point.modules import largest_eigenvalue
from tests.models.fixed_point.twins import applied_once, dense_states, read
from tests.models.formulas import normal

MIXERS = [
    {"mixer": "householder", "mixer_rank": 1},
    {"mixer": "householder", "mixer_rank": 3, "eigenvalues": "positive"},
    {"mixer": "dplr", "mixer_rank": 2, "eigenvalues": "positive"},
    {"mixer": "kronecker"},
    {"mixer": "kronecker", "eigenvalues": "positive", "readout": "plain"},
]
SEEN = ("mixer_sees_output", "lambda_sees_output", "b_sees_output", "c_sees_output")
EXACT = {"tolerance": 1e-13, "max_iterations": 400, "training_share": 1.0}


def layer_of(**fields: Any) -> Any:
    tier = FixedPoint(hidden=3, expand=2, **dict.fromkeys(SEEN, False) | fields)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        (layer,) = tier.make_layers()
        return tier, layer.double()


def by_twin(layer: Any, x: Any, states_of: Any) -> Any:
    """The layer's output on a batch, with the states of a twin."""
    outputs = []
    for row in x:
        inner = row @ layer.inward.weight[: layer.width].T
        gates = row @ layer.inward.weight[-layer.width :].T
        outputs.append(read(layer, inner, gates, states_of(inner)))
    return torch.stack(outputs)


@pytest.mark.parametrize("sees", [(), SEEN], ids=["input", "output"])
@pytest.mark.parametrize("fields", MIXERS, ids=str)
def test_the_converged_iteration_is_the_dense_recurrence(fields: dict[str, Any], sees: Any) -> None:
    tier, layer = layer_of(**fields, **EXACT, **dict.fromkeys(sees, True))
    x = normal(2, 7, 3)
    torch.testing.assert_close(layer(x)[0], by_twin(layer, x, lambda inner: dense_states(tier, layer, inner)))


@pytest.mark.parametrize("fields", MIXERS, ids=str)
def test_the_gradient_is_that_of_one_application_at_the_fixed_point(fields: dict[str, Any]) -> None:
    tier, layer = layer_of(**fields, **EXACT, **dict.fromkeys(SEEN, True))
    x, direction = normal(2, 5, 3).requires_grad_(), normal(2, 5, 3, seed=1)

    def states_of(inner: Any) -> Any:
        with torch.no_grad():
            fixed = dense_states(tier, layer, inner)
        return applied_once(tier, layer, inner, fixed)

    ours, twins = (
        torch.autograd.grad((outputs * direction).sum(), [x, *layer.parameters()])
        for outputs in (layer(x)[0], by_twin(layer, x, states_of))
    )
    torch.testing.assert_close(ours, twins, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("fields", MIXERS, ids=str)
def test_one_iteration_is_the_diagonal_model(fields: dict[str, Any]) -> None:
    tier, layer = layer_of(**fields, max_iterations=1, **dict.fromkeys(SEEN, True))
    x = normal(2, 5, 3)
    diagonal = by_twin(layer, x, lambda inner: applied_once(tier, layer, inner, torch.zeros_like(inner)))
    torch.testing.assert_close(layer(x)[0], diagonal)


def test_the_state_does_not_grow_with_itself_unless_b_sees_it() -> None:
    largest = []
    for tier in (FixedPoint(hidden=4), FixedPoint(hidden=4, b_sees_output=True)):
        torch.manual_seed(0)
        (layer,) = tier.make_layers()
        with torch.no_grad():
            for weight in layer.b.parameters():
                weight *= 20
            largest.append(float(layer.double()(normal(8, 100, 4))[1].abs().max()))
    assert largest[0] < 1e4 < 1e7 < largest[1]


@pytest.mark.parametrize("tolerance", [1e-2, 1e-6])
def test_what_has_converged_satisfies_equation_8_to_the_tolerance(tolerance: float) -> None:
    _, layer = layer_of(tolerance=tolerance, training_share=1.0, max_iterations=400, **dict.fromkeys(SEEN, True))
    iterates, solved = [], []

    def record(_: Any, arguments: Any) -> Any:
        iterate, start = arguments

        def recorded(h: Any) -> Any:
            iterates.append(h)
            return iterate(h)

        return recorded, start

    layer.solver.register_forward_pre_hook(record)
    layer.solver.register_forward_hook(lambda _, arguments, solution: solved.append((arguments[0], solution)))
    layer(normal(3, 9, 3))
    ((iterate, before),) = solved
    after = iterate(before)
    assert ((after - before).abs().amax(-1) < tolerance * after.abs().amax(-1)).all()
    assert len(iterates) < 400


def test_the_largest_eigenvalue_is_never_above_the_exact_one() -> None:
    factors = normal(4, 5, 6, 6)
    matrices = factors @ factors.mT
    ratio = largest_eigenvalue(matrices).flatten() / torch.linalg.eigvalsh(matrices)[..., -1].flatten()
    assert (ratio <= 1 + 1e-12).all()
    assert (ratio > 0.9).all()


def test_problems() -> None:
    assert FixedPoint(hidden=4, mixer_rank=8).problems() == {}
    assert FixedPoint(hidden=4, mixer_rank=9).problems() == {"mixer_rank": "at most expand · hidden (8)"}
    assert set(FixedPoint(mixer="kronecker", mixer_rank=2).problems()) == {"mixer_rank"}


@pytest.mark.parametrize("name", ["training_share", "evaluation_share", "damping", "damping_decay"])
def test_shares_and_factors_end_at_1(name: str) -> None:
    field = fields_of(FixedPoint)[name]
    assert field.convert(1) == 1.0
    with pytest.raises(ValueError, match="a number above 0 and at most 1"):
        field.convert(1.5)
