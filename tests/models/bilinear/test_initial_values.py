"""The initial values that the bilinear tiers promise, as means over many modules."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.models.variants import tier_class


def modules(name: str, **fields: Any) -> Iterator[Any]:
    """Modules of one small tier, each with weights of its own."""
    torch.manual_seed(0)
    for _ in range(150):
        yield tier_class(name)(hidden=16, embedding=12, **fields).build(vocab_size=3, num_classes=2)


@pytest.mark.parametrize(
    ("name", "fields"),
    [("full", {}), ("cp", {"rank": 24}), ("block_diagonal", {"block_size": 4}), ("real_diagonal", {})],
)
@pytest.mark.parametrize("init_scale", [1.0, 3.0])
def test_a_step_keeps_the_size_of_the_state_on_average(name: str, fields: dict[str, Any], init_scale: float) -> None:
    sizes, factors = [], []
    for module in modules(name, init_scale=init_scale, **fields):
        h = module.initial
        sizes.append(h.square().sum())
        factors += [(module.tier.matrix(module.weights, x) @ h).square().sum() / sizes[-1] for x in module.embedding]
    assert torch.stack(sizes).mean().item() == pytest.approx(1, rel=0.1)
    assert torch.stack(factors).mean().item() == pytest.approx(init_scale**2, rel=0.15)


@pytest.mark.parametrize(("name", "std"), [("rotation", math.pi), ("positive_diagonal", 1.0)])
def test_angles_are_spread_over_the_circle_and_gates_are_of_size_one(name: str, std: float) -> None:
    raw = torch.stack([module.embedding @ module.weights["W"].T for module in modules(name)])
    assert raw.square().mean().sqrt().item() == pytest.approx(std, rel=0.1)
