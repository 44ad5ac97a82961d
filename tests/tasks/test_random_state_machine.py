"""Random state machines against a walk in plain Python."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bilin.tasks.random_state_machine import RandomStateMachine

MACHINES = [RandomStateMachine(m=m, transitions=kind) for m in (2, 5, 25) for kind in ("permutations", "maps")]


@pytest.mark.parametrize("task", MACHINES, ids=repr)
def test_targets_are_the_states_of_a_walk_from_state_0(task, generator):
    batch = task.sample(torch.tensor([1, 2, 63]), generator)
    for tokens, targets, num in zip(batch.tokens.tolist(), batch.targets.tolist(), batch.num_tokens, strict=True):
        state, states = 0, []
        for token in tokens[:num]:
            state = task.machine[token][state]
            states.append(state)
        assert targets[:num] == states


@pytest.mark.parametrize("task", MACHINES, ids=repr)
@pytest.mark.parametrize("machine_seed", range(20))
def test_every_state_can_be_reached(task, machine_seed):
    machine = dataclasses.replace(task, machine_seed=machine_seed).machine
    reached = {0}
    for _ in range(task.m):
        reached |= {row[state] for row in machine for state in reached}
    assert reached == set(range(task.m))


@pytest.mark.parametrize("machine_seed", range(20))
def test_two_states_permuted_are_parity_whatever_the_seed(machine_seed):
    machine = RandomStateMachine(m=2, machine_seed=machine_seed).machine
    assert sorted(machine) == [(0, 1), (1, 0)]


def test_an_input_is_a_permutation_or_any_map():
    permutations, maps = RandomStateMachine(m=25), RandomStateMachine(m=25, transitions="maps")
    assert all(sorted(row) == list(range(25)) for row in permutations.machine)
    assert any(sorted(row) != list(range(25)) for row in maps.machine)


def test_the_machine_depends_on_its_own_seed_alone():
    first, second = RandomStateMachine(m=5), RandomStateMachine(m=5, machine_seed=1)
    assert first.machine == RandomStateMachine(m=5).machine
    assert first.machine != second.machine


def test_the_machine_of_a_seed_never_changes():
    assert RandomStateMachine(m=3).machine == ((1, 2, 0), (2, 0, 1), (0, 1, 2))
