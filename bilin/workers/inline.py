"""The pool that runs one trial after the other in this process; it needs no Ray."""

from __future__ import annotations

from bilin.spec import Resources
from bilin.workers.checkpoint import Checkpoints
from bilin.workers.pool import Event, Group, Report, Returned, RunTrial, ignore, placed


class InlinePool:
    """Runs each group inside `wait`, which therefore returns when the group has ended."""

    def __init__(self, run: RunTrial, *, report: Report = ignore, checkpoints: Checkpoints | None = None) -> None:
        self._run = run
        self._report = placed(report)
        self._checkpoints = checkpoints
        self._group: Group | None = None

    def accepts(self, resources: Resources) -> bool:  # noqa: ARG002 (one trial at a time, whatever it asks for)
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
        results = [self._run(spec, report=self._report, checkpoints=self._checkpoints) for spec in group.trials]
        return [Returned(group, results)]

    def keep(self, timeout_s: float) -> None:
        """Nothing: what runs here runs inside `wait`, and was kept when its time came."""

    def close(self) -> None:
        """Forget the group that waits."""
        self._group = None
