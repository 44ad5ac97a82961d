"""Runs for tests of the pools; what a trial does depends on its seed."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from bilin.record import Environment, Progress, TrialResult
from bilin.spec import TrialSpec
from bilin.workers.report import Report
from bilin.workers.training.checkpoint import Checkpoints

FINE, RAISES, DIES, SLEEPS, STANDS_STILL = range(5)


def by_seed(spec: TrialSpec, *, report: Report, checkpoints: Checkpoints | None = None) -> TrialResult:
    """Succeed, raise, die, sleep for a minute, or stand still, as on a node that is cut off, for twelve seconds."""
    report(Progress(trial_id=spec.trial_id, step=7, max_steps=20))
    if spec.seed == RAISES:
        raise RuntimeError("raised in the worker")
    if spec.seed == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    if spec.seed == SLEEPS:
        time.sleep(60)
    if spec.seed == STANDS_STILL:
        time.sleep(4.0)  # until it was heard of
        subprocess.Popen(["sh", "-c", f"sleep 12; kill -CONT {os.getpid()}"])
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
