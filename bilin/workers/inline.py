"""The pool that runs one trial after the other in this process; it needs no Ray."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext

from bilin.record import TrialResult
from bilin.spec import Resources, TrialSpec
from bilin.workers.output.copy import copied
from bilin.workers.output.files import Outputs
from bilin.workers.pool import Event, Group, Returned, RunTrial
from bilin.workers.report import Report, ignore, placed
from bilin.workers.training.checkpoint import Checkpoints


class InlinePool:
    """Runs each group inside `wait`, which therefore returns when the group has ended."""

    def __init__(
        self,
        run: RunTrial,
        *,
        report: Report = ignore,
        checkpoints: Checkpoints | None = None,
        outputs: Outputs | None = None,
    ) -> None:
        self._run = run
        self._report = placed(report)
        self._checkpoints = checkpoints
        self._outputs = outputs
        self._group: Group | None = None

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:  # noqa: ARG002 (one at a time)
        """Whether no group waits to be run."""
        return self._group is None

    def submit(self, group: Group) -> None:
        """Keep the group for the next `wait`."""
        self._group = group

    def wait(self, timeout_s: float) -> list[Event]:  # noqa: ARG002 (nothing else happens meanwhile)
        """Run the group that was submitted, to its end."""
        if self._group is None:
            return []
        group, self._group = self._group, None
        return [Returned(group, [self._run_one(spec) for spec in group.trials])]

    def keep(self, timeout_s: float) -> None:
        """Nothing: what runs here runs inside `wait`, and was kept when its time came."""

    def close(self) -> None:
        """Forget the group that waits."""
        self._group = None

    def _run_one(self, spec: TrialSpec) -> TrialResult:
        with copied(self._outputs.of(spec.trial_id)) if self._outputs else nullcontext():
            return self._run(spec, report=self._report, checkpoints=self._checkpoints)
