"""Whatever the code of a trial raises or does to its process is one failed row at most, in every pool."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from bilin.folder import SweepFolder
from bilin.orchestrator.clusters import ClusterSpec, PoolSpec, open_pool
from bilin.record import TrialResult
from bilin.spec import Cell, Resources, TestSpec, TrainSpec, TrialSpec, ValidateSpec
from bilin.tasks.modular_addition import ModularAddition
from bilin.workers.events import Event, Finished
from bilin.workers.inline import InlinePool
from bilin.workers.output import Outputs
from bilin.workers.pool import Group, Pool
from bilin.workers.trial import run_trial
from tests.workers.pool_runs import Events
from tests.workers.zoo import ACTS, RAISING, Zoo, run_and_compare

MAY_FAIL = {"signals", "torch", "torch device"}
"""What fails on some workers, or with some versions of torch."""

RunActs = Callable[..., list[TrialResult]]


def trial(act: str) -> TrialSpec:
    cell = Cell(
        task=ModularAddition(m=2),
        model=Zoo(hidden=4, act=act),
        train=TrainSpec(steps=4, batch_size=4),
        validate=ValidateSpec(every=2, lengths=(12,), num_sequences=4),
    )
    return TrialSpec(cell=cell, lr=1e-2, seed=0, test=TestSpec(lengths=(10,), num_sequences=4), resources=Resources())


@pytest.fixture(scope="module", params=["inline", pytest.param("ray", marks=pytest.mark.ray)])
def run_acts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunActs]:
    """Run trials one after the other in one process."""
    outputs = Outputs(SweepFolder(tmp_path_factory.mktemp("zoo")))
    seen = Events()

    def run(pool: Pool, *acts: str) -> list[TrialResult]:
        pool.submit(Group(tuple(trial(act) for act in acts)))
        ends = seen.wait(pool, len(acts))
        assert all(isinstance(end, Finished) for end in ends), ends
        return [end.result for end in ends if isinstance(end, Finished)]

    if request.param == "inline":
        inline = InlinePool(run_and_compare, emit=seen, outputs=outputs)
        yield lambda *acts: run(inline, *acts)
        return
    pool_spec = PoolSpec(run=run_and_compare, emit=seen, outputs=outputs)
    with open_pool(ClusterSpec(workers=1), pool_spec) as pool:
        yield lambda *acts: run(pool, *acts)


def measured(result: TrialResult) -> TrialResult:
    return dataclasses.replace(result, trial_id="", wall_s=0.0, test_s=None, started_at=0.0, finished_at=0.0)


@pytest.mark.parametrize("act", ACTS)
def test_a_trial_that_misbehaves_is_one_row_and_the_next_one_is_not_affected(run_acts: RunActs, act: str) -> None:
    before, result, after = run_acts("well", act, "well")
    if act in RAISING:
        assert result.status == "failed"
        assert result.error
        assert result.error.isprintable()
    elif act not in MAY_FAIL:
        assert (result.status, result.error) == ("done", None)
    assert measured(after) == measured(before)
    assert (before.status, before.environment and before.environment.worker) == ("done", "")
    assert result.environment is not None
    assert result.environment.worker == "", "it changed its process"
    assert result.environment.pid == after.environment.pid


def test_a_users_interrupt_passes_through_even_if_the_trial_catches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def catches() -> None:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setitem(ACTS, "catches", catches)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_trial(trial("catches"))
    assert signal.getsignal(signal.SIGINT) is before


def test_what_a_report_raises_passes_through() -> None:
    def report(event: Event) -> None:
        raise OSError("the store is full")

    with pytest.raises(OSError, match="the store is full"):
        run_trial(trial("well"), report=report)
