"""Trials that train as one program end as each would alone."""

from __future__ import annotations

import dataclasses
import gc
import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from bilin.failures import ends_worker
from bilin.fields import fields_of
from bilin.folder import SweepFolder
from bilin.models import MODELS, tier_settings
from bilin.models.recurrent.lstm import LSTM
from bilin.models.recurrent.modules import TorchRecurrence
from bilin.record import TrialResult
from bilin.spec import TrialSpec
from bilin.tasks.modular_addition import ModularAddition
from bilin.workers.events import TrialCancelled, ignore
from bilin.workers.training.checkpoint import Checkpoints, Clock
from bilin.workers.training.pack import TRIES, Member, Pack, Sizes
from bilin.workers.training.step import Stack, Stacks, update
from bilin.workers.trial import run_trial, run_trials

same_bits = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX2", reason="that a stack has the same bits is known for AVX2 alone"
)

VARYING: dict[str, Any] = {"wall_s": 0.0, "test_s": None, "started_at": 0.0, "finished_at": 0.0, "environment": None}


def measured(result: TrialResult) -> TrialResult:
    return dataclasses.replace(result, **VARYING)


def together(specs: Sequence[TrialSpec], limit: int = 16, **arguments: Any) -> list[TrialResult]:
    """Run trials as a pack; return their results in the order of the trials."""
    results: dict[str, TrialResult] = {}

    def ended(spec: TrialSpec, result: TrialResult | TrialCancelled) -> None:
        assert isinstance(result, TrialResult)
        results[spec.trial_id] = result

    run_trials(specs, **{"report": ignore, "ended": ended, "limit": limit, **arguments})
    return [results[spec.trial_id] for spec in specs]


def of(spec: TrialSpec, pack: int) -> TrialSpec:
    """A trial with a given size of its pack."""
    return dataclasses.replace(spec, resources=dataclasses.replace(spec.resources, pack=pack))


@same_bits
@pytest.mark.parametrize("tier", MODELS)
def test_a_member_has_the_numbers_of_a_lone_trial_to_the_last_bit(make, tier):
    small = {"rank": 4, "block_size": 2, "evaluation_iterations": 8}
    model = {name: small[name] for name in fields_of(tier_settings(tier)) if name in small}
    blocks = {"task": {"m": 3}, "train": {"steps": 6}, "validate": {"every": 3}, "tier": tier, "model": model}
    specs = [of(make(seed=seed, lr=10.0 ** -(2 + seed), **blocks), 4) for seed in range(4)]
    for result, spec in zip(together(specs), specs, strict=True):
        assert result.error is None
        assert result.environment is not None
        assert result.environment.pack == 4
        assert measured(result) == measured(run_trial(spec))


def test_trials_of_one_shape_may_differ_in_all_else(make):
    first = make(train={"steps": 40}, validate={"every": 10})
    specs = [
        first,
        make(train={"steps": 25, "optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 0.1}, validate={"every": 10}),
        make(train={"steps": 30, "batch_size": 16, "schedule": "linear", "warmup_steps": 3}, validate={"every": 7}),
        make(train={"steps": 20, "examples": 8, "lengths": (3, 5)}, test={"lengths": (7,)}),
        make(train={"steps": 10, "supervision": "every_token"}),
    ]
    assert len({spec.shape for spec in specs}) == 1
    assert [measured(result) for result in together(specs)] == [measured(run_trial(spec)) for spec in specs]


@same_bits
def test_the_next_trial_takes_the_place_of_one_that_has_ended(make):
    specs = [make(seed=seed, train={"steps": 10 * (1 + seed % 3)}, validate={"every": 5}) for seed in range(7)]
    running: set[str] = set()
    most = 0

    def report(event: Any) -> None:
        nonlocal most
        running.add(event.trial_id)
        most = max(most, len(running))

    results: list[TrialResult] = []

    def ended(spec: TrialSpec, result: TrialResult | TrialCancelled) -> None:
        assert isinstance(result, TrialResult)
        running.discard(spec.trial_id)
        results.append(result)

    run_trials(specs, report=report, ended=ended, limit=3)
    assert most == 3
    assert {result.trial_id: measured(result) for result in results} == {
        spec.trial_id: measured(run_trial(spec)) for spec in specs
    }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FailsLater(ModularAddition):
    """Parity whose sequences cannot be drawn from the second time on."""

    drawn: list[int] = dataclasses.field(default_factory=list, hash=False, compare=False)

    def sample(self, lengths, generator):
        self.drawn.append(len(lengths))
        if len(self.drawn) > 1:
            raise ValueError("no more")
        return ModularAddition.sample(self, lengths, generator)


def test_a_trial_that_fails_and_one_that_diverges_leave_the_others_alone(make):
    specs = [make(seed=seed, lr=lr, tier="full", train={"steps": 50}) for seed, lr in enumerate((1e-3, 1e30, 1e-3))]
    broken = make(seed=3, tier="full", train={"steps": 50})
    specs.append(dataclasses.replace(broken, cell=dataclasses.replace(broken.cell, task=FailsLater(m=2))))
    results = together(specs)
    assert [result.status for result in results] == ["done", "diverged", "done", "failed"]
    assert results[3].error == "ValueError: no more"
    assert [measured(results[index]) for index in (0, 2)] == [measured(run_trial(specs[index])) for index in (0, 2)]


@same_bits
@pytest.mark.parametrize("error", [RuntimeError("too many"), torch.OutOfMemoryError("too many"), SystemExit(3)])
def test_a_stack_that_does_not_run_is_halved_until_it_does(make, monkeypatch, error):
    specs = [of(make(seed=seed, train={"steps": 10}), 4) for seed in range(4)]
    expected = [measured(run_trial(spec)) for spec in specs]
    sizes = []

    def too_large(models: Sequence[object], **_: object) -> None:
        sizes.append(len(models))
        if len(models) > 2:
            raise error

    monkeypatch.setattr("bilin.workers.training.step.Stack.__init__", before(too_large))
    assert [measured(result) for result in together(specs)] == expected
    assert max(sizes) == 4
    assert 2 in sizes


def test_an_error_that_spoils_the_process_is_blamed_on_no_trial_of_a_stack(make, monkeypatch):
    def spoil(models: Sequence[object], **_: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr("bilin.workers.training.step.Stack.__init__", before(spoil))
    results = together([of(make(seed=seed, train={"steps": 10}), 2) for seed in range(2)])
    assert [result.status for result in results] == ["lost", "lost"]
    assert all("in a pack of 2, one raised: RuntimeError: CUDA error" in str(result.error) for result in results)
    assert all(map(ends_worker, results))


def test_a_step_that_fails_between_two_updates_is_not_made_again(make, monkeypatch):
    calls = 0

    def fails_once(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 10:  # of two members, the second is not updated
            raise MemoryError("too little")
        update(*arguments)

    monkeypatch.setattr("bilin.workers.training.step.update", fails_once)
    specs = [make(seed=seed, train={"steps": 10}) for seed in range(4)]
    *pair, third, alone = (of(spec, size) for spec, size in zip(specs, (2, 2, 1, 1), strict=True))
    results = together(pair)
    assert [result.status for result in results] == ["lost", "lost"]
    assert all("in a pack of 2, one raised: MemoryError: too little" in str(result.error) for result in results)
    calls = 0
    (result,) = together([third])
    assert (result.status, result.error) == ("oom", "MemoryError: too little")
    assert together([alone])[0].status == "done"


@pytest.mark.parametrize(("error", "size"), [(ValueError("not this one"), 16), (MemoryError("too little"), 1)])
def test_a_trial_that_fails_alone_makes_the_stacks_smaller_only_for_lack_of_memory(error, size):
    def compute(some: Sequence[Member[None]]) -> None:
        if members[5] in some:
            raise error

    members = [Member[None](work=(request for request in ()), clock=Clock(), around=nullcontext) for _ in range(16)]
    pack = Pack[None](limit=16, sizes=Sizes(16), stacks=Stacks(), check=lambda: None)
    pack._together(members, compute)
    assert [member.error for member in members if member.error] == [error]
    assert pack.sizes.choose(16) == size


def before(look: Any) -> Any:
    """`Stack.__init__`, after a look at its arguments."""
    make_stack = Stack.__init__

    def init(self: Stack, models: Sequence[Any], **share: Any) -> None:
        look(models)
        make_stack(self, models, **share)

    return init


def test_a_cancelled_trial_leaves_and_the_others_go_on(make):
    specs = [make(seed=seed, train={"steps": 30}, validate={"every": 10}) for seed in range(3)]
    results: dict[int, TrialResult | TrialCancelled] = {}

    def report(event: Any) -> None:
        if event.trial_id == specs[1].trial_id:
            raise TrialCancelled

    run_trials(specs, report=report, ended=lambda spec, result: results.update({spec.seed: result}), limit=3)
    assert isinstance(results[1], TrialCancelled)
    for seed in (0, 2):
        result = results[seed]
        assert isinstance(result, TrialResult)
        assert measured(result) == measured(run_trial(specs[seed]))


class Ends(BaseException):
    """Ends a pack, as the death of its worker would."""


@same_bits
def test_members_continue_from_their_checkpoints_in_another_pack_or_alone(make, tmp_path):
    specs = [make(seed=seed, train={"steps": 40}, validate={"every": 10}) for seed in range(4)]

    def report(event: Any) -> None:
        if event.step >= 20:
            raise Ends

    with pytest.raises(Ends):
        together(specs, report=report, checkpoints=Checkpoints(SweepFolder(tmp_path), 0.0))
    checkpoints = Checkpoints(SweepFolder(tmp_path), math.inf)
    for spec in specs:
        kept = checkpoints.latest(spec.trial_id)
        assert kept is not None
        assert kept.step >= 10
    expected = [measured(run_trial(spec)) for spec in specs]
    alone = run_trial(specs[0], checkpoints=checkpoints)
    others = together([specs[3], specs[1], specs[2]], checkpoints=checkpoints)
    assert [measured(result) for result in (alone, *others)] == [expected[index] for index in (0, 3, 1, 2)]


def test_where_a_stack_rounds_otherwise_trials_run_alone_unless_a_size_is_given(make, monkeypatch):
    compute = Stack.__call__
    monkeypatch.setattr(Stack, "__call__", lambda *args, **named: compute(*args, **named) * (1 + 1e-6))
    specs = [make(seed=seed, train={"steps": 4}) for seed in range(3)]
    assert [result.environment.pack for result in together(specs) if result.environment] == [1, 1, 1]
    given = [of(spec, 3) for spec in specs]
    assert [result.environment.pack for result in together(given) if result.environment] == [3, 3, 3]


def test_the_time_of_a_pack_is_shared_among_its_trials(make):
    import time

    specs = [make(seed=seed, train={"steps": 50}, validate={"every": 25}) for seed in range(8)]
    began = time.perf_counter()
    results = together(specs)
    assert 0 < sum(result.wall_s for result in results) <= time.perf_counter() - began


class Drops(TorchRecurrence):
    """An LSTM with dropout, which draws from torch's own generator."""

    def advance(self, tokens, state=None):
        features, state = super().advance(tokens, state)
        return torch.nn.functional.dropout(features, 0.1, self.training), state


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DropsSettings(LSTM):
    def build(self, *, vocab_size, num_classes):
        return Drops(self, torch.nn.LSTM, vocab_size=vocab_size, num_classes=num_classes)


def test_a_module_that_draws_from_torchs_generator_runs_alone(make):
    specs = [make(seed=seed, train={"steps": 4}) for seed in range(3)]
    model = DropsSettings(hidden=8, embedding=8)
    specs = [dataclasses.replace(spec, cell=dataclasses.replace(spec.cell, model=model)) for spec in specs]
    results = together(specs)
    assert [result.environment.pack for result in results if result.environment] == [1, 1, 1]
    assert [measured(result) for result in results] == [measured(run_trial(spec)) for spec in specs]


def test_the_fastest_size_is_taken_after_all_were_tried():
    sizes, seconds = Sizes(None), {1: 4.0, 4: 1.0, 16: 2.0}
    tried = []
    for _ in range(3 * TRIES):
        tried.append(size := sizes.choose(20))
        sizes.took(size, seconds[size])
    assert sorted(tried) == sorted([1, 4, 16] * TRIES)
    assert (sizes.choose(20), sizes.choose(1)) == (4, 1)


@pytest.mark.parametrize("given", [None, 16])
def test_no_stack_is_larger_than_half_of_one_that_failed(given):
    sizes = Sizes(given)
    if given is None:
        for size in (1, 4, 16) * TRIES:
            sizes.took(size, 1 / size)
    assert sizes.choose(9) == 16
    sizes.failed(9)
    assert sizes.choose(9) == 4
    sizes.failed(1)
    assert sizes.choose(9) == 1


def stacks() -> list[Stack]:
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) is Stack]


def test_stacks_of_trials_that_have_ended_are_forgotten(make):
    specs = [of(make(seed=seed, train={"steps": 6}, validate={"every": 3}), 2) for seed in range(8)]
    earlier = {id(thing) for thing in stacks()}
    alive = []

    def ended(spec: TrialSpec, result: TrialResult | TrialCancelled) -> None:
        alive.append(sum(id(thing) not in earlier for thing in stacks()))

    run_trials(specs, report=ignore, ended=ended, limit=2)
    assert max(alive) <= 2


def test_the_time_of_tests_is_a_part_of_the_time_of_the_trial(make):
    specs = [make(seed=seed, train={"steps": 4}, test={"num_sequences": 2048}) for seed in range(8)]
    for result in together(specs):
        assert result.test_s is not None
        assert 0 < result.test_s <= result.wall_s
