"""A pool whose time ends: that of a job with a time limit.

What is started late would be lost with the job, so nothing is started that would neither finish nor reach a
checkpoint. A trial keeps its state when the job is warned, from its first step on; so it needs the time that
starts have taken here, or, where nothing is kept, the time that whole trials have taken.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Collection

from bilin.record import Progress
from bilin.spec import Resources
from bilin.workers.pool import Event, Group, Pool
from bilin.workers.report import Report

LOOK_S = 60.0
"""How old what is known of the end may be: a time limit can be changed while a job runs."""


class Deadline:
    """When the job will be warned that it ends."""

    def __init__(self, time_left: Callable[[], float | None], warning_s: float) -> None:
        """Ask for the end of the job.

        Args:
            time_left: Seconds until the job ends; None where there is no telling.
            warning_s: How long before it the warning comes.
        """
        self._time_left = time_left
        self._warning_s = warning_s
        self._look()

    def has(self, seconds: float) -> bool:
        """Whether so much time is left before the warning."""
        if self.left() >= seconds:
            return True
        if time.monotonic() - self._looked_at > LOOK_S:
            self._look()
        return self.left() >= seconds

    def left(self) -> float:
        """Seconds until the warning."""
        return self._ends_at - self._warning_s - time.monotonic()

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        left_s = self._time_left()
        self._ends_at = math.inf if left_s is None else self._looked_at + left_s


class TimedPool:
    """Another pool, which takes no group for which the time is too short.

    Where nothing runs any more and there is no time for what waits, `wait` interrupts the sweep as the warning does.
    """

    def __init__(self, pool: Pool, deadline: Deadline, starts: Starts) -> None:
        self._pool = pool
        self._deadline = deadline
        self._starts = starts
        self._running: dict[int, Group] = {}  # by identity: one that was lost may come back after all
        self._is_late = False

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
        """Whether the pool accepts it, and there is time."""
        self._is_late = not self._deadline.has(self._starts.longest_s)
        return not self._is_late and self._pool.accepts(resources, avoid)

    def submit(self, group: Group) -> None:
        """Start a group."""
        self._starts.began(group)
        self._running[id(group)] = group
        self._pool.submit(group)

    def wait(self, timeout_s: float) -> list[Event]:
        """What has ended."""
        if self._is_late and not self._running:
            raise KeyboardInterrupt(signal.SIGUSR1)
        events = self._pool.wait(timeout_s)
        for event in events:
            if self._running.pop(id(event.group), None):
                self._starts.ended(event.group)
        return events

    def keep(self, timeout_s: float) -> None:
        """Have every running trial keep its state."""
        self._pool.keep(timeout_s)

    def close(self) -> None:
        """End every worker."""
        self._pool.close()


class Starts:
    """How long a group takes until there is something of it to keep.

    Attributes:
        longest_s: The longest so far; 0 before the first.
    """

    def __init__(self, report: Report, *, with_checkpoints: bool) -> None:
        """Listen to the trials.

        Args:
            report: Who else listens to them.
            with_checkpoints: Whether a trial that has begun can be kept.
        """
        self.longest_s = 0.0
        self._report = report
        self._with_checkpoints = with_checkpoints
        self._began: dict[str, float] = {}

    def began(self, group: Group) -> None:
        """A group was given to a worker."""
        self._began.update((spec.trial_id, time.monotonic()) for spec in group.trials)

    def ended(self, group: Group) -> None:
        """A group came back, or was lost."""
        for spec in group.trials:
            self._count(spec.trial_id)

    def report(self, progress: Progress) -> None:
        """A trial says how far it is."""
        if self._with_checkpoints and progress.step:
            self._count(progress.trial_id)
        self._report(progress)

    def _count(self, trial_id: str) -> None:
        if (began := self._began.pop(trial_id, None)) is not None:
            self.longest_s = max(self.longest_s, time.monotonic() - began)
