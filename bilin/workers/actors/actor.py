"""The actor that runs trials in a worker's process, one after the other, and answers meanwhile."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import ray

from bilin.record import Progress, TrialResult
from bilin.spec import TrialSpec
from bilin.workers.actors.memory import Killed, killed_here
from bilin.workers.output.capture import Capture
from bilin.workers.output.files import Outputs
from bilin.workers.pool import RunTrial
from bilin.workers.report import placed
from bilin.workers.training.checkpoint import Checkpoints


class Said(NamedTuple):
    """What a worker answers while it trains."""

    node: str
    killed: Killed | None
    progress: Progress | None


class TrialActor:
    """What lives in a worker process."""

    def __init__(self, name: str, run: RunTrial, checkpoints: Checkpoints | None, outputs: Outputs | None) -> None:
        self._name = name
        self._run = run
        self._checkpoints = checkpoints
        self._capture = Capture(outputs, name) if outputs else None
        self._node = ray.get_runtime_context().get_node_id()
        self._progress: Progress | None = None
        self._report = placed(self._take, name)

    def run(self, trials: bytes) -> bytes:
        """Run trials, one after the other; the node's id and results, pickled, for pickled specs."""
        specs: Sequence[TrialSpec] = pickle.loads(trials)
        return pickle.dumps((self._node, [self._named(self._run_one(spec)) for spec in specs]))

    def progress(self) -> Said:
        """Where it is, and the newest report of the running trial."""
        return Said(self._node, killed_here(), self._progress)

    def keep(self, timeout_s: float) -> None:
        """Have the running trial keep its state; returns when it did."""
        if self._checkpoints is not None:
            self._checkpoints.ask(timeout_s)

    def _run_one(self, spec: TrialSpec) -> TrialResult:
        self._report(Progress(trial_id=spec.trial_id, step=0, max_steps=spec.cell.train.steps))
        with self._capture.of(spec.trial_id) if self._capture else nullcontext():
            return self._run(spec, report=self._report, checkpoints=self._checkpoints)

    def _take(self, progress: Progress) -> None:
        self._progress = progress
        if self._capture:
            self._capture.look()

    def _named(self, result: TrialResult) -> TrialResult:
        if result.environment is None:
            return result
        return dataclasses.replace(result, environment=dataclasses.replace(result.environment, worker=self._name))
