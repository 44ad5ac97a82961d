"""How the pool hears of its workers."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from bilin.models.bilinear.full import Full
from bilin.orchestrator.clusters import ClusterSpec, open_pool
from bilin.spec import Cell, Resources, TestSpec, TrainSpec, TrialSpec, ValidateSpec
from bilin.tasks.modular_addition import ModularAddition
from bilin.workers.pool import Group, Pool
from tests.workers.pool_runs import SLEEPS, by_seed

CELL = Cell(task=ModularAddition(m=2), model=Full(), train=TrainSpec(), validate=ValidateSpec())


@pytest.mark.ray
def test_with_one_question_a_period_all_workers_are_heard_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    from bilin.workers.actors import hearing
    from bilin.workers.actors import pool as module

    monkeypatch.setattr(hearing, "ASKED_AT_ONCE", 1)
    said: list[str] = []
    resources = Resources(cpus=0.5)
    trials = [
        TrialSpec(cell=CELL, lr=lr, seed=SLEEPS, test=TestSpec(), resources=resources) for lr in (1e-2, 1e-3, 1e-4)
    ]
    with open_pool(
        ClusterSpec(workers=3), by_seed, demand=[resources], report=lambda progress: said.append(progress.trial_id)
    ) as pool:
        for trial in trials:
            pool.submit(Group((trial,)))
        hear(pool, said, 1)
        before, began = len(said), time.monotonic()
        hear(pool, said, 4)
        periods = (time.monotonic() - began) / hearing.PERIOD_S
        counts, num_heard = Counter(said), len(said) - before
        monkeypatch.setattr(module, "SILENCE_S", 5.0)
        time.sleep(7.0)  # as if this process were stopped: it has not listened, and nobody was silent
        assert [event for _ in range(8) for event in pool.wait(1.0)] == []
    assert max(counts.values()) <= min(counts.values()) + 2
    assert num_heard <= periods + len(trials), "one question a period, and those that were open"


def hear(pool: Pool, said: list[str], times: int) -> None:
    """Wait until each of three trials has been heard of so often."""
    until = time.monotonic() + 120
    while len(heard := Counter(said)) < 3 or min(heard.values()) < times:
        assert time.monotonic() < until
        pool.wait(0.1)
