"""What workers say while they train: asked on this process's clock, not sent by the trial.

A worker answers while it trains, because its actor has a second thread for that.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Collection

import ray
from ray.exceptions import RayError

from bilin.workers.actors.worker import Worker
from bilin.workers.report import Report

PERIOD_S = 0.5

ASKED_AT_ONCE = 200
"""How many workers are asked in one period, those first that were asked longest ago.

So what the answers cost this process is bounded, however many workers there are: each of 200 is asked twice a second,
each of 8,000 every 20 seconds.
"""


LISTENED_S = 2.0
"""How much of the time between two periods counts as listening at most: this process may have stood still itself."""


class Hearing:
    """Asks the busy workers how they are, and passes on what they say of their trials."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._asked_at = time.monotonic()

    def go_round(self, busy: Collection[Worker]) -> None:
        """Where it is time, take the answers that are there and ask the next."""
        now = time.monotonic()
        if now - self._asked_at < PERIOD_S:
            return
        listened_s = min(now - self._asked_at, LISTENED_S)
        self._asked_at = now
        asked = [worker for worker in busy if worker.question is not None]
        self._take(asked)
        for worker in asked:
            if worker.question is not None and worker.has_begun:
                worker.silent_s += listened_s
        silent = [worker for worker in busy if worker.question is None]
        for worker in heapq.nsmallest(ASKED_AT_ONCE, silent, key=lambda worker: worker.asked_at):
            worker.ask()

    def hear_out(self, worker: Worker) -> None:
        """Take the answer of one worker, if it is there."""
        if worker.question is not None:
            self._take([worker])

    def _take(self, asked: Collection[Worker]) -> None:
        if not asked:
            return
        by_question = {worker.question: worker for worker in asked}
        answered, _ = ray.wait(list(by_question), num_returns=len(by_question), timeout=0)
        for question in answered:
            self._pass_on(by_question[question])

    def _pass_on(self, worker: Worker) -> None:
        try:
            worker.node, worker.killed, progress = ray.get(worker.question)
        except RayError:
            return  # the group's own call says the same, and its answer counts
        worker.question = None
        worker.has_begun, worker.silent_s = True, 0.0
        if progress is not None:
            worker.pid = progress.pid
            self._report(progress)
