"""One contract for every pool, and what only pools with processes of their own can show."""

from __future__ import annotations

import dataclasses
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bilin.models.bilinear.full import Full
from bilin.models.bilinear.real_diagonal import RealDiagonal
from bilin.orchestrator.clusters import ClusterSpec, PoolSpec, open_pool
from bilin.record import Progress, TrialResult
from bilin.spec import Cell, Resources, TestSpec, TrainSpec, TrialSpec, ValidateSpec
from bilin.tasks.modular_addition import ModularAddition
from bilin.workers.events import Cancelled, Event, Finished, Lost, Report, Started
from bilin.workers.inline import InlinePool
from bilin.workers.pool import Group, Pool, RunTrial
from bilin.workers.training.checkpoint import Checkpoints
from bilin.workers.trial import run_trial
from tests.workers.pool_runs import DIES, FINE, RAISES, SLEEPS, Events, StandsStill, by_seed

CELL = Cell(task=ModularAddition(m=2), model=Full(), train=TrainSpec(), validate=ValidateSpec())


def spec(seed: int, *, lr: float = 1e-3, cpus: float = 1.0) -> TrialSpec:
    return TrialSpec(cell=CELL, lr=lr, seed=seed, test=TestSpec(), resources=Resources(cpus=cpus))


def real_trial(steps: int) -> TrialSpec:
    """A trial that trains, on tiny sequences."""
    cell = Cell(
        task=ModularAddition(m=2),
        model=RealDiagonal(hidden=4, embedding=4),
        train=TrainSpec(steps=steps, batch_size=4, stop_when_solved=False),
        validate=ValidateSpec(every=10, lengths=(10,), num_sequences=4),
    )
    test = TestSpec(lengths=(10,), num_sequences=4)
    return TrialSpec(cell=cell, lr=1e-3, seed=0, test=test, resources=Resources())


@pytest.fixture(scope="module")
def own_ray() -> Iterator[None]:
    with open_pool(ClusterSpec(workers=2), PoolSpec(run=by_seed, demand=[], emit=print)):
        yield


@pytest.fixture
def seen() -> Events:
    return Events()


MakePool = Callable[..., Pool]


@pytest.fixture(params=["inline", pytest.param("ray", marks=pytest.mark.ray)])
def make_pool(request: pytest.FixtureRequest) -> Iterator[MakePool]:
    made: list[Pool] = []

    def make(emit: Callable[[Event], None], run: RunTrial = by_seed) -> Pool:
        if request.param == "inline":
            made.append(InlinePool(run, emit=emit))
        else:
            request.getfixturevalue("own_ray")
            from bilin.workers.actors.pool import RayPool

            made.append(RayPool(run, num_workers=2, emit=emit))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


@pytest.fixture
def ray_pool(own_ray: None, seen: Events) -> Iterator[Pool]:
    from bilin.workers.actors.pool import RayPool

    pool = RayPool(by_seed, num_workers=2, emit=seen)
    yield pool
    pool.close()


def test_a_group_comes_back_with_a_result_a_trial_in_its_order(make_pool: MakePool, seen: Events) -> None:
    pool = make_pool(seen)
    group = Group((spec(FINE), spec(FINE, lr=1e-2)))
    assert pool.accepts(group.resources)
    pool.submit(group)
    ends = seen.wait(pool, 2)
    assert [type(event) for event in ends] == [Finished, Finished]
    assert [event.trial_id for event in ends] == [trial.trial_id for trial in group.trials]


def test_the_events_of_a_trial_come_in_order_and_say_where_it_runs(make_pool: MakePool, seen: Events) -> None:
    pool = make_pool(seen)
    pool.submit(Group((spec(FINE),)))
    (end,) = seen.wait(pool, 1)
    started, *progress, last = seen
    assert isinstance(started, Started)
    assert isinstance(end, Finished)
    environment = end.result.environment
    assert environment is not None
    assert (started.host, started.pid) == (socket.gethostname(), environment.pid)
    assert all(isinstance(event, Progress) and event.step == 7 for event in progress)
    assert last == end


def test_a_worker_takes_trial_after_trial(make_pool: MakePool, seen: Events) -> None:
    pool = make_pool(seen)
    pids = set()
    for lr in (1e-2, 1e-3, 1e-4):
        pool.submit(Group((spec(FINE, lr=lr),)))
        (event,) = seen.wait(pool, 1)
        assert isinstance(event, Finished)
        assert event.result.environment is not None
        pids.add(event.result.environment.pid)
    assert len(pids) == 1


def test_nothing_comes_back_from_an_idle_pool(make_pool: MakePool, seen: Events) -> None:
    make_pool(seen).wait(0.01)
    assert seen == []


def test_a_cancelled_trial_ends_between_two_steps_and_the_next_of_its_group_runs(make_pool: MakePool) -> None:
    endless, short = real_trial(10**9), real_trial(2)
    seen = Events()

    def emit(event: Event) -> None:
        seen(event)
        if event.trial_id == endless.trial_id and isinstance(event, Progress) and event.step:
            pool.cancel(endless.trial_id)

    pool = make_pool(emit, run_trial)
    pool.submit(Group((endless, short)))
    cancelled, finished = seen.wait(pool, 2)
    assert isinstance(cancelled, Cancelled)
    assert cancelled.trial_id == endless.trial_id
    assert cancelled.step > 0
    assert isinstance(finished, Finished)
    assert (finished.trial_id, finished.result.status) == (short.trial_id, "done")


def test_a_trial_that_is_cancelled_before_its_turn_never_begins(make_pool: MakePool) -> None:
    first, second = spec(FINE), spec(FINE, lr=1e-2)
    seen = Events()

    def run(spec: TrialSpec, *, report: Report, checkpoints: Checkpoints | None) -> TrialResult:
        for step in range(1, 10**9):  # until the cancellation has reached this worker, and a report passes
            report(Progress(trial_id=spec.trial_id, step=step, max_steps=10**9))
            time.sleep(0.05)
        raise AssertionError

    def cancel_both(event: Event) -> None:
        seen(event)
        if isinstance(event, Progress):
            pool.cancel(second.trial_id)
            pool.cancel(first.trial_id)

    pool = make_pool(cancel_both, run)
    pool.submit(Group((first, second)))
    ends = seen.wait(pool, 2)
    assert [type(event) for event in ends] == [Cancelled, Cancelled]
    assert ends[1] == Cancelled(trial_id=second.trial_id, step=0)
    assert not [event for event in seen if isinstance(event, Started) and event.trial_id == second.trial_id]


@pytest.mark.ray
def test_results_of_a_group_arrive_while_its_other_members_run(ray_pool: Pool, seen: Events) -> None:
    ray_pool.submit(Group((spec(FINE), spec(FINE, lr=1e-2), spec(SLEEPS))))
    first, second = seen.wait(ray_pool, 2)
    assert isinstance(first, Finished)
    assert isinstance(second, Finished)
    assert ray_pool.accepts(Resources()), "one of two workers is free"
    ray_pool.submit(Group((spec(SLEEPS, lr=1e-2),)))
    assert not ray_pool.accepts(Resources()), "the other one has the rest of the group"


@pytest.mark.ray
def test_of_a_group_whose_worker_dies_what_was_seen_to_end_stands_and_the_rest_is_lost(
    own_ray: None, seen: Events, tmp_path: Path
) -> None:
    from bilin.workers.actors.pool import RayPool

    def run(spec: TrialSpec, *, report: Report, checkpoints: Checkpoints | None) -> TrialResult:
        if spec.seed == DIES:
            while not (tmp_path / "seen").exists():
                time.sleep(0.05)
        return by_seed(spec, report=report, checkpoints=checkpoints)

    pool, trials = RayPool(run, num_workers=1, emit=seen), (spec(FINE), spec(DIES), spec(FINE, lr=1e-2))
    pool.submit(Group(trials))
    (first,) = seen.wait(pool, 1)
    (tmp_path / "seen").touch()
    rest = seen.wait(pool, 2)
    pool.close()
    assert isinstance(first, Finished)
    assert [type(event) for event in rest] == [Lost, Lost]
    assert [event.trial_id for event in (first, *rest)] == [trial.trial_id for trial in trials]


@pytest.mark.ray
def test_where_nothing_runs_it_waits_for_what_may_come(ray_pool: Pool, seen: Events) -> None:
    began = time.monotonic()
    ray_pool.wait(0.2)
    assert seen == []
    assert time.monotonic() >= began + 0.2


@pytest.mark.ray
def test_no_more_groups_are_accepted_than_there_are_workers(ray_pool: Pool) -> None:
    for lr in (1e-2, 1e-3):
        ray_pool.submit(Group((spec(SLEEPS, lr=lr),)))
    assert not ray_pool.accepts(Resources())


@pytest.mark.ray
def test_a_silent_worker_is_taken_for_lost_and_what_it_says_later_is_heard(
    own_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bilin.workers.actors import pool as module

    monkeypatch.setattr(module, "SILENCE_S", 4.0)
    run, seen = StandsStill(tmp_path), Events()

    def emit(event: Event) -> None:
        seen(event)
        run.hear(event)

    pool, trial = module.RayPool(run, num_workers=1, emit=emit), spec(FINE)
    pool.submit(Group((trial,)))
    (lost,) = seen.wait(pool, 1)
    run.let_go()
    (finished,) = seen.wait(pool, 1)
    pool.close()
    assert isinstance(lost, Lost)
    assert "silent for 4 s" in lost.reason
    assert isinstance(finished, Finished)
    assert lost.trial_id == finished.trial_id == trial.trial_id


@pytest.mark.ray
def test_a_worker_of_another_size_makes_room(ray_pool: Pool, seen: Events) -> None:
    ray_pool.submit(Group((spec(FINE),)))
    seen.wait(ray_pool, 1)
    assert ray_pool.accepts(Resources(cpus=2.0))
    ray_pool.submit(Group((spec(FINE, cpus=2.0),)))
    (event,) = seen.wait(ray_pool, 1)
    assert isinstance(event, Finished)
    assert not ray_pool.accepts(Resources(cpus=3.0))


@pytest.mark.ray
def test_fractions_that_do_not_share_a_cpu_are_not_promised(own_ray: None) -> None:
    from bilin.workers.actors.pool import RayPool

    pool = RayPool(by_seed, num_workers=9)
    for lr in (1e-2, 1e-3):
        assert pool.accepts(Resources(cpus=0.7))
        pool.submit(Group((spec(SLEEPS, lr=lr, cpus=0.7),)))
    assert not pool.accepts(Resources(cpus=0.7)), "three times 0.7 is more than two"
    pool.close()


@pytest.mark.ray
def test_a_worker_that_dies_is_lost_and_replaced(ray_pool: Pool, seen: Events) -> None:
    ray_pool.submit(Group((spec(DIES),)))
    (event,) = seen.wait(ray_pool, 1)
    assert isinstance(event, Lost)
    assert re.match(r"(process \d+ of )?ray-\d+ died: Worker unexpectedly exits", event.reason)
    ray_pool.submit(Group((spec(FINE),)))
    (event,) = seen.wait(ray_pool, 1)
    assert isinstance(event, Finished)


@pytest.mark.ray
def test_the_node_of_a_worker_that_dies_at_once_is_known(
    ray_pool: Pool, seen: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bilin.workers.actors.actor import Answer, TrialActor

    class AnswersSlowly(TrialActor):
        def poll(self, received: int) -> Answer:
            answer = super().poll(received)
            time.sleep(0.5)
            return answer

    monkeypatch.setattr("bilin.workers.actors.pool.TrialActor", AnswersSlowly)
    ray_pool.submit(Group((spec(DIES),)))
    (event,) = seen.wait(ray_pool, 1)
    assert isinstance(event, Lost)
    assert event.node


@pytest.mark.ray
def test_a_call_that_raises_is_a_failed_result(ray_pool: Pool, seen: Events) -> None:
    ray_pool.submit(Group((spec(RAISES),)))
    (event,) = seen.wait(ray_pool, 1)
    assert isinstance(event, Finished)
    assert (event.result.status, event.result.error) == ("failed", "RuntimeError: raised in the worker")
    assert "RuntimeError" in (event.result.traceback or "")


@pytest.mark.ray
def test_a_running_trial_reports(ray_pool: Pool, seen: Events) -> None:
    ray_pool.submit(Group((spec(SLEEPS),)))
    until = time.monotonic() + 120
    while not (progress := [event for event in seen if isinstance(event, Progress)]):
        assert time.monotonic() < until
        ray_pool.wait(0.5)
    assert progress[0].step == 7


@pytest.mark.ray
def test_a_worker_that_lacks_a_package_gives_a_failed_row_that_names_it(
    ray_pool: Pool, seen: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("elsewhere")
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    exec("from bilin.models.bilinear.full import Full\nclass Elsewhere(Full):\n    pass", module.__dict__)
    trial = dataclasses.replace(spec(FINE), cell=dataclasses.replace(CELL, model=module.Elsewhere()))
    ray_pool.submit(Group((trial,)))
    (event,) = seen.wait(ray_pool, 1)
    assert isinstance(event, Finished)
    assert (event.trial_id, event.result.status) == (trial.trial_id, "failed")
    assert event.result.error == (
        "ModuleNotFoundError: No module named 'elsewhere'; the worker's Python needs elsewhere, as this one has"
    )
