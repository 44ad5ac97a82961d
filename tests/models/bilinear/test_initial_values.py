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
@pytest.mark.parametrize("onehot", [False, True])
@pytest.mark.parametrize("init_scale", [1.0, 3.0])
def test_a_step_keeps_the_size_of_the_state_on_average(
    name: str, fields: dict[str, Any], init_scale: float, onehot: bool
) -> None:
    sizes, factors = [], []
    for module in modules(name, init_scale=init_scale, onehot=onehot, **fields):
        h = module.initial
        sizes.append(h.square().sum())
        factors += [(module.tier.matrix(module.weights, x) @ h).square().sum() / sizes[-1] for x in module.embedding]
    assert torch.stack(sizes).mean().item() == pytest.approx(1, rel=0.1)
    assert torch.stack(factors).mean().item() == pytest.approx(init_scale**2, rel=0.15)


@pytest.mark.parametrize(("name", "std"), [("rotation", math.pi), ("positive_diagonal", 1.0)])
@pytest.mark.parametrize("onehot", [False, True])
def test_angles_are_spread_over_the_circle_and_gates_are_of_size_one(name: str, std: float, onehot: bool) -> None:
    raw = torch.stack([module.embedding @ module.weights["W"].T for module in modules(name, onehot=onehot)])
    assert raw.square().mean().sqrt().item() == pytest.approx(std, rel=0.1)


def test_a_onehot_embedding_is_not_trained_and_needs_a_number_a_token() -> None:
    module = tier_class("full")(hidden=4, embedding=7, onehot=True).build(vocab_size=5, num_classes=2)
    assert torch.equal(module.embedding, torch.eye(5, 7))
    assert "embedding" not in {*dict(module.named_parameters()), *module.state_dict()}
    with pytest.raises(ValueError, match="embedding is 4 with onehot: true; accepted: at least 5, a number a token"):
        tier_class("full")(hidden=4, embedding=4, onehot=True).build(vocab_size=5, num_classes=2)
