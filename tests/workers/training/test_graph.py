"""Programs: the steps of stacks with inputs at fixed addresses. On a GPU they are CUDA graphs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.record import StopReason
from bilin.spec import TrialSpec
from bilin.workers.events import ignore
from bilin.workers.training.graph import Passes, Program, Programs
from bilin.workers.training.pack import Member, Pack, Sizes
from bilin.workers.training.pack import alone as run_alone
from bilin.workers.training.state import TrialState, batches_at, padded, start
from bilin.workers.training.step import Forward, Stacks, UpdateError, logits_of
from bilin.workers.training.train import train

CPU = torch.device("cpu")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
SMALL = {"rank": 4, "block_size": 2, "evaluation_iterations": 8}


def alone(spec: TrialSpec, steps: int, device: torch.device = CPU) -> TrialState:
    """A trial after some steps on its own."""
    state = start(spec, device)
    for _ in range(steps):
        Stacks().step([state], batches_at(state)[:1])
    return state


def together(programs: Programs, states: Sequence[TrialState], steps: int) -> None:
    for _ in range(steps):
        programs.keep([state.model for state in states])
        programs.step(states, [batches_at(state)[0] for state in states])


def assert_same(state: TrialState, other: TrialState, *, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    assert state.step == other.step == int(state.num_updates)
    values, others = ([*of.model.parameters(), *of.means, *of.squares, of.loss_sum] for of in (state, other))
    torch.testing.assert_close(
        [value.detach() for value in values], [value.detach() for value in others], rtol=rtol, atol=atol
    )


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
@pytest.mark.parametrize("tier", MODELS)
def test_members_train_as_they_would_alone(make, tier, device):
    model = {name: SMALL[name] for name in fields_of(tier_settings(tier)) if name in SMALL}
    specs = [make(seed=seed, lr=2.0 ** -(8 + seed), tier=tier, model=model, task={"m": 3}) for seed in range(3)]
    states, programs = [start(spec, torch.device(device)) for spec in specs], Programs()
    together(programs, states, 5)
    for spec, state in zip(specs, states, strict=True):
        assert_same(state, alone(spec, 5, torch.device(device)), rtol=1e-3, atol=1e-4)


def test_one_that_ends_keeps_its_weights_and_another_takes_its_seat(make):
    specs = [make(seed=seed, lr=2.0 ** -(7 + seed % 3)) for seed in range(5)]
    programs, states = Programs(), [start(spec, CPU) for spec in specs]
    together(programs, states[:3], 4)
    program = programs._programs[0]
    together(programs, [states[0], states[3], states[2]], 3)
    together(programs, [states[4], states[2]], 2)
    assert programs._programs == [program]
    for spec, state, steps in zip(specs, states, (7, 4, 9, 3, 2), strict=True):
        assert_same(state, alone(spec, steps))


def test_a_program_shrinks_when_half_of_its_seats_are_free(make):
    specs = [make(seed=seed) for seed in range(4)]
    programs, states = Programs(), [start(spec, CPU) for spec in specs]
    together(programs, states, 2)
    together(programs, states[1:3], 2)
    assert [len(program.seats) for program in programs._programs] == [2]
    together(programs, states[2:3], 2)
    assert [len(program.seats) for program in programs._programs] == [1]
    for spec, state, steps in zip(specs, states, (2, 4, 6, 2), strict=True):
        assert_same(state, alone(spec, steps))


def test_two_programs_exchange_a_member(make):
    states = [start(make(seed=seed), CPU) for seed in range(6)]
    programs = Programs()
    for some in (states[:3], states[3:], states[:3], states[3:]):
        programs.step(some, [batches_at(state)[0] for state in some])
    before = [*programs._programs]
    programs.keep([state.model for state in states[1:]])
    programs.step(states[1:4], [batches_at(state)[0] for state in states[1:4]])
    programs.step(states[4:], [batches_at(state)[0] for state in states[4:]])
    assert programs._programs == before
    for seed, (state, steps) in enumerate(zip(states, (2, 3, 3, 3, 3, 3), strict=True)):
        assert_same(state, alone(make(seed=seed), steps))


def test_a_step_that_fails_between_two_updates_says_so(make, monkeypatch):
    states, programs = [start(make(seed=seed), CPU) for seed in range(2)], Programs()
    together(programs, states, 2)

    def fails_for_the_second(tensors: TrialState, *arguments: Any) -> None:
        if tensors is programs._programs[0].seats[1].tensors:
            raise MemoryError("too little")

    monkeypatch.setattr("bilin.workers.training.graph.update", fails_for_the_second)
    with pytest.raises(UpdateError) as failed:
        together(programs, states, 1)
    assert isinstance(failed.value.__cause__, MemoryError)


@pytest.mark.parametrize("train", [{"optimizer": "adamw", "weight_decay": 0.1}, {"clip_norm": 0.1}])
def test_only_trials_with_the_same_constants_share_a_seat(make, train):
    first, second, other = make(seed=0), make(seed=1), make(seed=2, train=train)
    states, programs = [start(spec, CPU) for spec in (first, second, other)], Programs()
    together(programs, states[:2], 2)
    program = programs._programs[0]
    assert not program.fits([states[0], states[2]], batches_at(states[0])[0])
    together(programs, [states[0], states[2]], 2)
    assert programs._programs != [program]
    for spec, state, steps in zip((first, second, other), states, (4, 2, 2), strict=True):
        assert_same(state, alone(spec, steps))


def test_members_may_leave_a_program_that_fails(make):
    states, programs = [start(make(seed=seed), CPU) for seed in range(3)], Programs()
    together(programs, states, 2)
    batches = [batches_at(state)[0] for state in states]
    batches[1] = batches[1].take(torch.arange(3))
    with pytest.raises(RuntimeError):
        programs.step(states, batches)
    for seed, state in enumerate(states):
        together(programs, [state], 1)
        assert_same(state, alone(make(seed=seed), 3))


@pytest.mark.parametrize("num_members", [1, 2])
def test_a_warm_up_leaves_everything_as_it_was(make, num_members):
    small = {"iterations": "gamma", "evaluation_iterations": 8}
    specs = [make(seed=seed, tier="fixed_point", model=small) for seed in range(num_members)]
    states, others = ([start(spec, CPU) for spec in specs] for _ in range(2))
    program = Program(states, batches_at(states[0])[0])
    drawn = torch.random.get_rng_state()
    program.warm_up()
    assert torch.equal(torch.random.get_rng_state(), drawn)
    for state, other in zip(states, others, strict=True):
        values, before = state.model.state_dict(), other.model.state_dict()
        assert all(torch.equal(values[name], before[name]) for name in before)


def test_sequences_are_padded_to_one_length(make):
    batch = batches_at(start(make(), CPU))[0]
    wide = padded(batch, 17)
    assert wide.tokens.shape == wide.targets.shape == (len(batch.tokens), 17)
    assert torch.equal(wide.answers, batch.answers)
    assert padded(batch, 2).tokens.shape == batch.tokens.shape


def test_a_pack_trains_and_evaluates_in_programs(make):
    blocks = {"validate": {"every": 4}, "task": {"m": 5}}
    specs = [
        make(seed=seed, lr=2.0**-7, train={"steps": 8 + 4 * (seed % 2), "normalize": "none"}, **blocks)
        for seed in range(5)
    ]
    states, others = ([start(spec, CPU) for spec in specs] for _ in range(2))
    pack = Pack[StopReason](limit=3, sizes=Sizes(sys.maxsize), stacks=Programs(), check=lambda: None)
    members = [
        Member(work=train(spec, state, report=ignore), clock=state.clock, around=nullcontext)
        for spec, state in zip(specs, states, strict=True)
    ]
    assert list(pack.run(members)) == ["budget"] * 5
    assert pack.largest == 3
    for spec, state, other in zip(specs, states, others, strict=True):
        run_alone(train(spec, other, report=ignore))
        assert_same(state, other)
        assert [point[:2] for point in state.curve] == [point[:2] for point in other.curve]


def asked(states: Sequence[TrialState], length: int, *, every_token: bool = False) -> list[Forward]:
    tokens = [torch.randint(3, (8, length), device=state.device) for state in states]
    num_tokens = torch.full((8,), length, device=states[0].device)
    return [
        Forward(state.model, of_one, num_tokens, every_token=every_token)
        for state, of_one in zip(states, tokens, strict=True)
    ]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
@pytest.mark.parametrize("every_token", [False, True])
def test_an_evaluation_gives_the_logits_of_each_member_whoever_asks(make, device, every_token):
    states = [start(make(seed=seed, tier="full", task={"m": 3}), torch.device(device)) for seed in range(5)]
    programs = Programs()
    for some in (states[:3], states[:3], states[1:], states[1:], states[4:], states[4:], states):
        together(programs, some, 1)
        for length in (3, 7):
            requests = asked(some, length, every_token=every_token)
            torch.testing.assert_close(list(programs.logits(requests)), list(logits_of(requests)))
            assert not any(state.model.training for state in some)
    assert {shape[1] for shape, found in programs._passes._by_shape.items() if found} == {2, 4}  # places; 8 only once


@needs_gpu
def test_logits_stay_as_they_were_after_the_next_evaluation(make):
    states, passes = [start(make(seed=seed, task={"m": 3}), torch.device("cuda")) for seed in range(2)], Passes()
    found = [passes.logits(asked(states, 3)) for _ in range(2)][1]
    before = [logits.clone() for logits in found]
    passes.logits(asked(states, 3))
    assert all(torch.equal(one, other) for one, other in zip(found, before, strict=True))


@needs_gpu
def test_the_evaluations_of_a_stack_are_captured(make):
    states, passes = (
        [start(make(seed=seed, tier="full", task={"m": 3}), torch.device("cuda")) for seed in range(4)],
        Passes(),
    )
    for _ in range(2):
        passes.logits(asked(states, 20))
    assert [found._graph is not None for found in passes._by_shape.values() if found] == [True]


@needs_gpu
def test_the_steps_of_a_stack_are_captured(make):
    states, programs = [start(make(seed=seed, tier="full"), torch.device("cuda")) for seed in range(4)], Programs()
    together(programs, states, 2)
    (program,) = programs._programs
    assert isinstance(program, Program)
    assert program._graph is not None
