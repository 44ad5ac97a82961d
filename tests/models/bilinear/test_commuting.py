"""Proposition 2: where the matrices commute, the order of the tokens does not matter."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bilin.models import MODELS
from bilin.models.bilinear.bilinear import Commuting
from bilin.models.bilinear.recurrence import naive_forward
from tests.models.variants import Build, Draw, settings, tier_class

COMMUTING = [name for name in MODELS if issubclass(tier_class(name), Commuting)]


def test_rotations_and_diagonals_commute() -> None:
    assert COMMUTING == ["rotation", "real_diagonal", "positive_diagonal"]


@pytest.mark.parametrize("name", COMMUTING)
@pytest.mark.parametrize("forward", [lambda module, *args: module(*args), naive_forward], ids=["fast", "definition"])
def test_any_order_of_the_tokens_gives_the_same_state(name: str, forward: Any, build: Build, draw: Draw) -> None:
    module, tokens, num_tokens = build(settings(name)), draw(1, 50), torch.tensor([50])
    orders = torch.stack([torch.randperm(50, generator=torch.Generator().manual_seed(seed)) for seed in range(8)])
    found = [forward(module, tokens[:, order], num_tokens) for order in orders]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


def test_the_order_matters_to_blocks_of_size_2(build: Build, draw: Draw) -> None:
    module, tokens, num_tokens = build(settings("block_diagonal", block_size=2)), draw(1, 50), torch.tensor([50])
    assert not torch.allclose(module(tokens, num_tokens), module(tokens.flip(1), num_tokens), rtol=1e-3)
