"""One contract for every pool, and what only pools with processes of their own can show."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from bilin.models.bilinear.full import Full
from bilin.orchestrator.clusters import ClusterSpec, open_pool
from bilin.record import Progress
from bilin.spec import Cell, Resources, TestSpec, TrainSpec, TrialSpec, ValidateSpec
from bilin.tasks.modular_addition import ModularAddition
from bilin.workers.inline import InlinePool
from bilin.workers.pool import Event, Group, Lost, Pool, Returned
from tests.workers.pool_runs import DIES, FINE, RAISES, SLEEPS, StandsStill, by_seed

CELL = Cell(task=ModularAddition(m=2), model=Full(), train=TrainSpec(), validate=ValidateSpec())


def spec(seed: int, *, lr: float = 1e-3, cpus: float = 1.0) -> TrialSpec:
    return TrialSpec(cell=CELL, lr=lr, seed=seed, test=TestSpec(), resources=Resources(cpus=cpus))


def events(pool: Pool, count: int) -> list[Event]:
    seen: list[Event] = []
    until = time.monotonic() + 60
    while len(seen) < count and time.monotonic() < until:
        seen += pool.wait(1.0)
    return seen


@pytest.fixture(scope="module")
def own_ray() -> Iterator[None]:
    with open_pool(ClusterSpec(workers=2), by_seed, demand=[], report=print):
        yield


@pytest.fixture(params=["inline", pytest.param("ray", marks=pytest.mark.ray)])
def make_pool(request: pytest.FixtureRequest) -> Iterator[Callable[..., Pool]]:
    made: list[Pool] = []

    def make(report: Callable[[Progress], None] = lambda progress: None) -> Pool:
        if request.param == "inline":
            made.append(InlinePool(by_seed, report=report))
        else:
            request.getfixturevalue("own_ray")
            from bilin.workers.actors.pool import RayPool

            made.append(RayPool(by_seed, num_workers=2, report=report))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


@pytest.fixture
def ray_pool(own_ray: None) -> Iterator[Pool]:
    from bilin.workers.actors.pool import RayPool

    pool = RayPool(by_seed, num_workers=2)
    yield pool
    pool.close()


def test_a_group_comes_back_with_a_result_a_trial_in_its_order(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    group = Group((spec(FINE), spec(FINE, lr=1e-2)))
    assert pool.accepts(group.resources)
    pool.submit(group)
    (event,) = events(pool, 1)
    assert isinstance(event, Returned)
    assert event.group == group
    assert [result.trial_id for result in event.results] == [trial.trial_id for trial in group.trials]


def test_a_worker_takes_trial_after_trial(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    pids = set()
    for lr in (1e-2, 1e-3, 1e-4):
        pool.submit(Group((spec(FINE, lr=lr),)))
        (event,) = events(pool, 1)
        assert isinstance(event, Returned)
        environment = event.results[0].environment
        assert environment is not None
        pids.add(environment.pid)
    assert len(pids) == 1


def test_nothing_comes_back_from_an_idle_pool(make_pool: Callable[..., Pool]) -> None:
    assert make_pool().wait(0.01) == []


@pytest.mark.ray
def test_where_nothing_runs_it_waits_for_what_may_come(ray_pool: Pool) -> None:
    began = time.monotonic()
    assert ray_pool.wait(0.2) == []
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
    run = StandsStill(tmp_path)
    pool, group = module.RayPool(run, num_workers=1, report=run.was_heard), Group((spec(FINE),))
    pool.submit(group)
    (lost,) = events(pool, 1)
    run.let_go()
    (returned,) = events(pool, 1)
    pool.close()
    assert isinstance(lost, Lost)
    assert "silent for 4 s" in lost.reason
    assert isinstance(returned, Returned)
    assert lost.group == returned.group == group


@pytest.mark.ray
def test_a_worker_of_another_size_makes_room(ray_pool: Pool) -> None:
    ray_pool.submit(Group((spec(FINE),)))
    events(ray_pool, 1)
    assert ray_pool.accepts(Resources(cpus=2.0))
    ray_pool.submit(Group((spec(FINE, cpus=2.0),)))
    (event,) = events(ray_pool, 1)
    assert isinstance(event, Returned)
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
def test_a_worker_that_dies_is_lost_and_replaced(ray_pool: Pool) -> None:
    ray_pool.submit(Group((spec(DIES),)))
    (event,) = events(ray_pool, 1)
    assert isinstance(event, Lost)
    assert event.reason
    ray_pool.submit(Group((spec(FINE),)))
    (event,) = events(ray_pool, 1)
    assert isinstance(event, Returned)


@pytest.mark.ray
def test_a_call_that_raises_is_a_failed_result(ray_pool: Pool) -> None:
    ray_pool.submit(Group((spec(RAISES),)))
    (event,) = events(ray_pool, 1)
    assert isinstance(event, Returned)
    (result,) = event.results
    assert (result.status, result.error) == ("failed", "RuntimeError: raised in the worker")
    assert "RuntimeError" in (result.traceback or "")


@pytest.mark.ray
def test_a_running_trial_reports(own_ray: None) -> None:
    from bilin.workers.actors.pool import RayPool

    said: list[Progress] = []
    pool = RayPool(by_seed, num_workers=1, report=said.append)
    pool.submit(Group((spec(SLEEPS),)))
    until = time.monotonic() + 30
    while not said and time.monotonic() < until:
        pool.wait(0.5)
    pool.close()
    assert said[0].step == 7


@pytest.mark.ray
def test_a_worker_that_lacks_a_package_gives_a_failed_row_that_names_it(
    ray_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("elsewhere")
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    exec("from bilin.models.bilinear.full import Full\nclass Elsewhere(Full):\n    pass", module.__dict__)
    trial = dataclasses.replace(spec(FINE), cell=dataclasses.replace(CELL, model=module.Elsewhere()))
    ray_pool.submit(Group((trial,)))
    (event,) = events(ray_pool, 1)
    assert isinstance(event, Returned)
    (result,) = event.results
    assert (result.trial_id, result.status) == (trial.trial_id, "failed")
    assert result.error == (
        "ModuleNotFoundError: No module named 'elsewhere'; the worker's Python needs elsewhere, as this one has"
    )
