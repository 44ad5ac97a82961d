"""Runs groups of trials in one process, and emits their events."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from bilin.failures import ends_worker
from bilin.record import Progress, TrialResult
from bilin.spec import TrialSpec
from bilin.workers.events import Cancelled, Checkpointed, Emit, Finished, Started, TrialCancelled
from bilin.workers.pool import RunTrial
from bilin.workers.training.checkpoint import Checkpoints
from bilin.workers.trial import run_trials


class TrialRunner:
    """Runs groups of trials in this process, and emits their events. Every worker has one."""

    def __init__(
        self,
        run: RunTrial | None,
        emit: Emit,
        *,
        checkpoints: Checkpoints | None,
        output: Callable[[str], AbstractContextManager[None]],
        worker: str | None = None,
        node: str | None = None,
    ) -> None:
        """Prepare a worker.

        Without ``run`` it trains its trials, those of one group as a pack. ``output`` makes the context that sends
        what is printed in it to the file of a trial.
        """
        self._run = run
        self._emit = emit
        self._checkpoints = checkpoints
        self._output = output
        self._worker = worker
        self._node = node
        self._host, self._pid = socket.gethostname(), os.getpid()
        self._cancelled: set[str] = set()
        self._steps: dict[str, int] = {}

    def cancel(self, trial_id: str) -> None:
        """End a trial at its next report, or before it begins; from any thread."""
        self._cancelled.add(trial_id)

    def run(self, specs: Sequence[TrialSpec]) -> None:
        """Run the trials of a group. After a failure that ends the worker, no other one begins."""
        waiting = deque(specs)

        def begun() -> Iterator[TrialSpec]:
            while waiting:
                spec = waiting.popleft()
                self._steps[spec.trial_id] = 0
                if spec.trial_id in self._cancelled:
                    ended(spec, TrialCancelled())
                    continue
                started = Started(
                    trial_id=spec.trial_id, host=self._host, pid=self._pid, worker=self._worker, node=self._node
                )
                self._emit(started)
                yield spec

        def ended(spec: TrialSpec, result: TrialResult | TrialCancelled) -> None:
            step = self._steps.pop(spec.trial_id)
            self._cancelled.discard(spec.trial_id)
            if isinstance(result, TrialCancelled):
                self._emit(Cancelled(trial_id=spec.trial_id, step=step))
                return
            self._emit(Finished(result=result, node=self._node))
            if self._worker is not None and ends_worker(result):
                waiting.clear()

        if self._run is None:
            run_trials(
                begun(),
                report=self._report,
                ended=ended,
                checkpoints=self._checkpoints,
                limit=len(specs),
                around=self._output,
            )
            return
        for spec in begun():
            try:
                with self._output(spec.trial_id):
                    result: TrialResult | TrialCancelled = self._run(
                        spec, report=self._report, checkpoints=self._checkpoints
                    )
            except TrialCancelled as error:
                result = error
            ended(spec, result)

    def _report(self, event: Progress | Checkpointed) -> None:
        self._steps[event.trial_id] = event.step
        self._emit(event)
        if event.trial_id in self._cancelled:
            raise TrialCancelled
