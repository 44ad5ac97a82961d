"""Random state machines against a walk in plain Python."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
import torch

from bilin.tasks.random_state_machine import RandomStateMachine, _draw

MACHINES = [
    *(RandomStateMachine(m=m, transitions=kind) for m in (2, 5, 25) for kind in ("permutations", "maps")),
    *(RandomStateMachine(m=m, num_symbols=2) for m in (2, 25)),
    *(RandomStateMachine(m=m, num_symbols=number, transitions="maps") for m, number in ((2, 2), (25, 4), (60, 5))),
]


def labels(task: Any, tokens: Any) -> Any:
    """The states of a walk from state 0."""
    state, states = 0, []
    for token in tokens:
        state = task.machine[token][state]
        states.append(state)
    return states


@pytest.mark.parametrize("task", MACHINES, ids=repr)
@pytest.mark.parametrize("machine_seed", range(20))
def test_every_state_can_be_reached(task: Any, machine_seed: int) -> None:
    machine = dataclasses.replace(task, machine_seed=machine_seed).machine
    reached = {0}
    for _ in range(task.m):
        reached |= {row[state] for row in machine for state in reached}
    assert reached == set(range(task.m))


@pytest.mark.parametrize("machine_seed", range(20))
def test_two_states_permuted_are_parity_whatever_the_seed(machine_seed: int) -> None:
    machine = RandomStateMachine(m=2, machine_seed=machine_seed).machine
    assert sorted(machine) == [(0, 1), (1, 0)]


def test_an_input_is_a_permutation_or_any_map() -> None:
    permutations, maps = RandomStateMachine(m=25), RandomStateMachine(m=25, transitions="maps")
    assert all(sorted(row) == list(range(25)) for row in permutations.machine)
    assert any(sorted(row) != list(range(25)) for row in maps.machine)


def test_the_machine_depends_only_on_its_own_seed() -> None:
    machines = []
    for seed in (0, 1):
        random.seed(seed)
        torch.manual_seed(seed)
        _draw.cache_clear()
        machines.append(RandomStateMachine(m=5).machine)
    assert machines[0] == machines[1] != RandomStateMachine(m=5, machine_seed=1).machine


def test_the_machine_of_a_seed_never_changes() -> None:
    assert RandomStateMachine(m=3).machine == ((1, 0, 2), (1, 2, 0), (0, 2, 1))
    assert RandomStateMachine(m=4).machine == ((0, 1, 2, 3), (2, 0, 3, 1), (3, 2, 1, 0), (0, 1, 3, 2))
    assert RandomStateMachine(m=3, transitions="maps").machine == ((0, 0, 1), (0, 1, 1), (1, 2, 1))
    assert RandomStateMachine(m=3, machine_seed=7).machine == ((0, 2, 1), (0, 1, 2), (2, 0, 1))


@pytest.mark.parametrize("kind", ["permutations", "maps"])
@pytest.mark.parametrize("num_symbols", [2, None])
@pytest.mark.parametrize("m", [3, 4, 5])
def test_the_order_of_inputs_matters_from_three_states_on(m: int, num_symbols: int | None, kind: str) -> None:
    for seed in range(100):
        machine = RandomStateMachine(m=m, num_symbols=num_symbols, transitions=kind, machine_seed=seed).machine
        assert any(one[other[state]] != other[one[state]] for one in machine for other in machine for state in range(m))


def test_only_machines_whose_inputs_commuted_have_another_version() -> None:
    versions = [RandomStateMachine(m=3, machine_seed=seed).version for seed in range(10)]
    assert [seed for seed, version in enumerate(versions) if version == 2] == [0, 6, 9]
    assert {RandomStateMachine(m=m).version for m in (2, 4, 5, 10, 25)} == {1}


def test_by_default_there_are_as_many_inputs_as_states() -> None:
    assert RandomStateMachine(m=4).vocab_size == len(RandomStateMachine(m=4).machine) == 4
    assert RandomStateMachine(m=4, num_symbols=4).machine == RandomStateMachine(m=4).machine
    few = RandomStateMachine(m=4, num_symbols=2)
    assert (few.vocab_size, few.num_classes, [len(row) for row in few.machine]) == (2, 4, [4, 4])


def test_a_machine_that_is_too_large_is_a_fault() -> None:
    assert "1,000,000 next states" in RandomStateMachine(m=1001).problems()["num_symbols"]
    assert not RandomStateMachine(m=1000).problems()
    assert not RandomStateMachine(m=100_000, num_symbols=2).problems()


def test_too_few_maps_for_the_states_are_a_fault() -> None:
    few = RandomStateMachine(m=60, num_symbols=4, transitions="maps")
    assert few.problems() == {"num_symbols": "at least 5 for maps of 60 states, or null"}
    assert not dataclasses.replace(few, transitions="permutations").problems()
    assert not dataclasses.replace(few, num_symbols=None).problems()
