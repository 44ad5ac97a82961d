"""How the pool hears of its workers."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from bilin.models.bilinear.full import Full
from bilin.orchestrator.clusters import ClusterSpec, PoolSpec, open_pool
from bilin.spec import Cell, Resources, TestSpec, TrainSpec, TrialSpec, ValidateSpec
from bilin.tasks.modular_addition import ModularAddition
from bilin.workers.actors.actor import Answer
from bilin.workers.events import Event
from bilin.workers.pool import Group, Pool
from tests.workers.pool_runs import SLEEPS, Events, by_seed

CELL = Cell(task=ModularAddition(m=2), model=Full(), train=TrainSpec(), validate=ValidateSpec())


class Later:
    """The clock of this process after it has stood still for an hour."""

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() + 3600


@pytest.mark.slow
@pytest.mark.ray
def test_with_one_question_a_period_all_workers_are_heard_by_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    from bilin.workers.actors import pool as module
    from bilin.workers.actors import worker

    monkeypatch.setattr(worker, "ASKED_AT_ONCE", 1)
    answers: list[str] = []

    class Counting(worker.Worker):
        def take(self, answer: Answer) -> list[Event]:
            answers.append(self.name)
            return super().take(answer)

    monkeypatch.setattr(module, "Worker", Counting)
    resources, seen = Resources(cpus=0.5), Events()
    trials = [
        TrialSpec(cell=CELL, lr=lr, seed=SLEEPS, test=TestSpec(), resources=resources) for lr in (1e-2, 1e-3, 1e-4)
    ]
    with open_pool(ClusterSpec(workers=3), PoolSpec(run=by_seed, demand=[resources], emit=seen)) as pool:
        for trial in trials:
            pool.submit(Group((trial,)))
        hear(pool, answers, 1)
        before, began = len(answers), time.monotonic()
        hear(pool, answers, 4)
        periods = (time.monotonic() - began) / worker.PERIOD_S
        counts, num_heard = Counter(answers), len(answers) - before
        monkeypatch.setattr(module, "SILENCE_S", 5.0)
        monkeypatch.setattr(worker, "time", Later)  # it has not listened meanwhile, so nobody was silent
        for _ in range(8):
            pool.wait(1.0)
    assert seen.ends() == []
    assert max(counts.values()) <= min(counts.values()) + 2
    assert num_heard <= periods + len(trials), "one question a period, and those that were open"


def hear(pool: Pool, answers: list[str], times: int) -> None:
    """Wait until each of three workers has answered so often."""
    until = time.monotonic() + 120
    while len(heard := Counter(answers)) < 3 or min(heard.values()) < times:
        assert time.monotonic() < until
        pool.wait(0.1)
