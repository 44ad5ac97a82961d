"""Runs for tests of the pools; what a trial does depends on its seed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from bilin.record import Environment, Progress, TrialResult
from bilin.spec import TrialSpec
from bilin.workers.events import Cancelled, Event, Finished, Lost, Report
from bilin.workers.pool import Pool
from bilin.workers.training.checkpoint import Checkpoints

FINE, RAISES, DIES, SLEEPS = range(4)


EndEvent = Finished | Lost | Cancelled


class Events(list[Event]):
    """The events that a pool emits, in order."""

    num_waited_for = 0

    def __call__(self, event: Event) -> None:
        self.append(event)

    def ends(self) -> list[EndEvent]:
        """Those with which a trial ends."""
        return [event for event in self if isinstance(event, Finished | Lost | Cancelled)]

    def wait(self, pool: Pool, count: int, timeout_s: float = 120) -> list[EndEvent]:
        """Wait until so many trials have ended since the last call; return how."""
        until = time.monotonic() + timeout_s
        while len(ends := self.ends()[self.num_waited_for :]) < count:
            assert time.monotonic() < until, f"{self} after {timeout_s} s"
            pool.wait(0.5)
        self.num_waited_for += len(ends)
        return ends


def by_seed(spec: TrialSpec, *, report: Report, checkpoints: Checkpoints | None = None) -> TrialResult:
    """Succeed, raise, die, or sleep for a minute."""
    report(Progress(trial_id=spec.trial_id, step=7, max_steps=20))
    if spec.seed == RAISES:
        raise RuntimeError("raised in the worker")
    if spec.seed == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    if spec.seed == SLEEPS:
        time.sleep(60)
    return TrialResult(trial_id=spec.trial_id, status="done", environment=_environment())


class StandsStill:
    """A run whose first call stands still, as on a node that is cut off: from when it was heard of till it is let go.

    The calls after it sleep for a minute.
    """

    def __init__(self, folder: Path) -> None:
        self._begun, self._heard, self._let_go = (folder / name for name in ("begun", "heard", "let-go"))

    def hear(self, event: Event | None = None) -> None:
        """Stand still from now on, if that is progress or nothing."""
        if event is None or isinstance(event, Progress):
            self._heard.touch()

    def let_go(self) -> None:
        """Go on."""
        self._let_go.touch()

    def __call__(self, spec: TrialSpec, *, report: Report, checkpoints: Checkpoints | None = None) -> TrialResult:
        report(Progress(trial_id=spec.trial_id, step=7, max_steps=20))
        try:
            self._begun.touch(exist_ok=False)
        except FileExistsError:
            time.sleep(60.0)
        else:
            while not self._heard.exists():
                time.sleep(0.1)
            subprocess.Popen(["sh", "-c", f"until [ -e {self._let_go} ]; do sleep 0.1; done; kill -CONT {os.getpid()}"])
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(1.0)  # the thread that asks to be stopped may run on for a moment
        return TrialResult(trial_id=spec.trial_id, status="done", environment=_environment())


def _environment() -> Environment:
    return Environment(
        host="here",
        pid=os.getpid(),
        worker="",
        device="cpu",
        threads=1,
        cpu="",
        python="",
        torch="",
        version="",
        commit=None,
    )
