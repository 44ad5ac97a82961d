"""The pool of a job whose time ends: what it takes, and when it stops."""

from __future__ import annotations

import dataclasses
import signal

import pytest

from bilin.orchestrator.clusters.slurm.deadline import LOOK_S, Deadline, DeadlinePool, StartupTimes
from bilin.record import Progress, TrialResult
from bilin.spec import Resources, TrialSpec
from bilin.workers.events import Cancelled, Emit, Event, Finished, Lost, Report, ignore
from bilin.workers.inline import InlinePool
from bilin.workers.pool import Group
from tests.orchestrator.runs import no_op
from tests.test_spec import spec
from tests.workers.pool_runs import Events

ONE = Resources()
TAKES_S = 20.0


class Job:
    """A clock that only trials move, and the end of a job by it, which can be moved too."""

    def __init__(self, ends_in_s: float | None) -> None:
        self.now = 0.0
        self.ends_at = ends_in_s

    def clock(self) -> float:
        return self.now

    def time_left(self) -> float | None:
        return None if self.ends_at is None else self.ends_at - self.now


def made(job: Job, *, warning_s: float = 0.0, with_checkpoints: bool = False, emit: Emit = ignore) -> DeadlinePool:
    """A pool whose trials report at once that they have begun, and take a while then."""
    times = StartupTimes(emit, with_checkpoints=with_checkpoints, clock=job.clock)

    def run(spec: TrialSpec, *, report: Report, checkpoints: object) -> TrialResult:
        report(Progress(trial_id=spec.trial_id, step=1, max_steps=2))
        job.now += TAKES_S
        return no_op(spec)

    return DeadlinePool(InlinePool(run, emit=times.take), Deadline(job.time_left, warning_s, job.clock), times)


def run_one(pool: DeadlinePool, seed: int = 0) -> None:
    assert pool.accepts(ONE)
    pool.submit(Group((dataclasses.replace(spec(), seed=seed),)))
    pool.wait(1.0)


@pytest.mark.parametrize("in_s", [None, 1e6])
def test_with_time_left_everything_is_taken(in_s: float | None) -> None:
    seen = Events()
    pool = made(Job(in_s), warning_s=100, emit=seen)
    run_one(pool)
    assert [type(event) for event in seen.ends()] == [Finished]
    assert pool.accepts(ONE)
    pool.wait(0.0)
    assert len(seen.ends()) == 1


def test_what_would_not_finish_is_not_begun_and_a_pool_without_work_is_interrupted() -> None:
    assert not made(Job(-1)).accepts(ONE), "there is no time at all"
    pool = made(Job(1000 + TAKES_S * 1.5), warning_s=1000)
    run_one(pool)
    assert not pool.accepts(ONE)
    with pytest.raises(KeyboardInterrupt) as caught:
        pool.wait(0.0)
    assert caught.value.args == (signal.SIGUSR1,)


def test_what_was_lost_and_comes_back_after_all_counts_once() -> None:
    trial, times = spec(), StartupTimes(ignore, with_checkpoints=False)
    pool = DeadlinePool(LosesOne(trial, times.take), Deadline(Job(-1).time_left, 0.0), times)
    for _ in range(2):
        pool.submit(Group((trial,)))
        pool.wait(0.0)
    assert not pool.accepts(ONE)
    pool.wait(0.0)  # the second attempt runs: nothing is interrupted
    with pytest.raises(KeyboardInterrupt):
        pool.wait(0.0)


class LosesOne(InlinePool):
    """A pool that loses the first attempt of a trial, hears its result later, and ends the second."""

    def __init__(self, trial: TrialSpec, emit: Emit) -> None:
        super().__init__(no_op)
        self._events: list[Event] = [
            Lost(trial_id=trial.trial_id, reason="silent"),
            Finished(result=no_op(trial), is_late=True),
            Cancelled(trial_id=trial.trial_id, step=7),
        ]
        self._take = emit

    def submit(self, group: Group) -> None:
        pass

    def wait(self, timeout_s: float) -> None:
        self._take(self._events.pop(0))


def test_a_trial_that_can_be_kept_needs_only_the_time_to_begin() -> None:
    pool = made(Job(1000 + TAKES_S * 1.5), warning_s=1000, with_checkpoints=True)
    run_one(pool)
    assert pool.accepts(ONE)


def test_a_time_limit_that_was_extended_is_seen() -> None:
    job = Job(-1)
    pool = made(job)
    job.ends_at = 1000
    assert not pool.accepts(ONE), "Slurm has just been asked"
    job.now += LOOK_S + 1
    assert pool.accepts(ONE)
