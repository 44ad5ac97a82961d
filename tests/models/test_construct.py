"""Proposition 1: written weights simulate a machine without one error; and what they cannot hold is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bilin.models.construct import construct
from bilin.tasks.random_state_machine import RandomStateMachine
from tests.models.variants import tier_class

TIERS = {
    "full": lambda m: tier_class("full")(hidden=m, embedding=m),
    "wider": lambda m: tier_class("full")(hidden=m + 3, embedding=m + 2),
    "block_diagonal": lambda m: tier_class("block_diagonal")(hidden=2 * (m + 1), embedding=m, block_size=m + 1),
    "large blocks": lambda m: tier_class("block_diagonal")(hidden=64, embedding=m, block_size=32),
}


@pytest.mark.parametrize(
    ("tier", "m", "transitions", "length"),
    [
        ("full", 10, "permutations", 500),
        ("wider", 7, "maps", 500),
        ("block_diagonal", 7, "maps", 10_000),
        ("large blocks", 25, "permutations", 500),
    ],
)
def test_a_random_machine_is_followed_to_any_length(tier: Any, m: int, transitions: Any, length: int) -> None:
    task = RandomStateMachine(m=m, transitions=transitions, machine_seed=m)
    batch = task.sample(torch.tensor([length, length]), torch.Generator().manual_seed(m))
    module = construct(TIERS[tier](task.m), task.machine).eval()
    with torch.no_grad():
        states = module(batch.tokens, batch.num_tokens, every_token=True).argmax(2)
    assert torch.equal(states, batch.targets)


def test_a_machine_may_start_anywhere() -> None:
    machine = ((1, 2, 0), (0, 2, 1))
    module = construct(tier_class("full")(hidden=3, embedding=2), machine, start=2)
    assert module(torch.tensor([[0, 1, 0]]), torch.tensor([3]), every_token=True).argmax(2).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("start", [-1, 3])
def test_it_starts_in_one_of_the_states(start: Any) -> None:
    with pytest.raises(ValueError, match=rf"start is {start}; accepted: a state, from 0 to 2"):
        construct(tier_class("full")(hidden=3, embedding=2), ((1, 2, 0), (0, 2, 1)), start=start)


@pytest.mark.parametrize(
    ("tier", "fields", "message"),
    [
        ("full", {"hidden": 2}, "the machine has 3 states, hidden is 2; accepted: at least 3"),
        ("full", {"hidden": 3, "embedding": 1}, "the machine has 2 inputs, embedding is 1; accepted: at least 2"),
        ("block_diagonal", {"hidden": 4, "block_size": 2}, "the machine has 3 states, block_size is 2"),
        ("full", {"hidden": 3, "additive": True}, "the tier has additive terms; accepted: additive: false"),
    ],
)
def test_a_tier_that_cannot_hold_the_machine_is_refused(tier: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        construct(tier_class(tier)(**fields), ((1, 2, 0), (0, 2, 1)))
