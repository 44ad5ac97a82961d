"""The pool of a job whose time ends: what it takes, and when it stops."""

from __future__ import annotations

import dataclasses
import signal
import time

import pytest

from bilin.orchestrator.clusters.slurm.deadline import Deadline, Starts, TimedPool
from bilin.record import Progress, TrialResult
from bilin.spec import Resources, TrialSpec
from bilin.workers.events import Cancelled, Emit, Finished, Lost, Report, ignore
from bilin.workers.inline import InlinePool
from bilin.workers.pool import Group
from tests.orchestrator.runs import no_op
from tests.test_spec import spec
from tests.workers.pool_runs import Events

ONE = Resources()
TAKES_S = 0.2


class Ends:
    """The end of a job, by the clock; it can be moved while the job runs."""

    def __init__(self, in_s: float | None) -> None:
        self.at = None if in_s is None else time.monotonic() + in_s

    def __call__(self) -> float | None:
        return None if self.at is None else self.at - time.monotonic()


def made(ends: Ends, *, warning_s: float = 0.0, with_checkpoints: bool = False, emit: Emit = ignore) -> TimedPool:
    """A pool whose trials say at once that they have begun, and take a while then."""
    starts = Starts(emit, with_checkpoints=with_checkpoints)

    def run(spec: TrialSpec, *, report: Report, checkpoints: object) -> TrialResult:
        report(Progress(trial_id=spec.trial_id, step=1, max_steps=2))
        time.sleep(TAKES_S)
        return no_op(spec)

    return TimedPool(InlinePool(run, emit=starts.take), Deadline(ends, warning_s), starts)


def run_one(pool: TimedPool, seed: int = 0) -> None:
    assert pool.accepts(ONE)
    pool.submit(Group((dataclasses.replace(spec(), seed=seed),)))
    pool.wait(1.0)


@pytest.mark.parametrize("in_s", [None, 1e6])
def test_with_time_left_everything_is_taken(in_s: float | None) -> None:
    seen = Events()
    pool = made(Ends(in_s), warning_s=100, emit=seen)
    run_one(pool)
    assert [type(event) for event in seen.ends()] == [Finished]
    assert pool.accepts(ONE)
    pool.wait(0.0)
    assert len(seen.ends()) == 1


def test_what_would_not_finish_is_not_begun_and_a_pool_without_work_is_interrupted() -> None:
    ends = Ends(1000)
    pool = made(ends, warning_s=1000 - TAKES_S * 10)
    run_one(pool)
    ends.at = time.monotonic()
    assert not made(ends).accepts(ONE), "there is no time at all"
    pool = made(Ends(1000 + TAKES_S * 1.5), warning_s=1000)
    run_one(pool)
    assert not pool.accepts(ONE)
    with pytest.raises(KeyboardInterrupt) as caught:
        pool.wait(0.0)
    assert caught.value.args == (signal.SIGUSR1,)


def test_what_was_lost_and_comes_back_after_all_counts_once() -> None:
    trial, starts = spec(), Starts(ignore, with_checkpoints=False)
    pool = TimedPool(LosesOne(trial, starts.take), Deadline(Ends(-1), 0.0), starts)
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
        self._events = [
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
    pool = made(Ends(1000 + TAKES_S * 1.5), warning_s=1000, with_checkpoints=True)
    run_one(pool)
    assert pool.accepts(ONE)


def test_a_time_limit_that_was_extended_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = Ends(-1)
    pool = made(ends)
    ends.at = time.monotonic() + 1000
    assert not pool.accepts(ONE), "it has just looked"
    monkeypatch.setattr("bilin.orchestrator.clusters.slurm.deadline.LOOK_S", 0.0)
    assert pool.accepts(ONE)
