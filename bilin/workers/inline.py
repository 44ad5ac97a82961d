"""The pool that runs one trial after the other in this process; it needs no Ray."""

from __future__ import annotations

from bilin.spec import Resources
from bilin.workers.pool import Event, Group, Report, Returned, RunTrial, ignore


class InlinePool:
    """Runs each group inside `wait`, which therefore returns when the group has ended."""

    def __init__(self, run: RunTrial, *, report: Report = ignore) -> None:
        self._run = run
        self._report: Report = report
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
        return [Returned(group, [self._run(spec, report=self._report) for spec in group.trials])]

    def close(self) -> None:
        """Forget the group that waits."""
        self._group = None
