"""A pool with a deadline: the time limit of its Slurm job.

No trial is started that would neither finish nor reach a checkpoint before the job ends: it would be lost. When the
job is warned, a trial is checkpointed from its first step on. So a trial needs the time that others have taken to
begin in this job or, without checkpoints, the time that whole trials have taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection

from bilin.machine.slurm import WARNING_SIGNAL
from bilin.record import Progress
from bilin.spec import Resources
from bilin.workers.events import Cancelled, Emit, Event, Finished, Lost
from bilin.workers.pool import Group, Pool

LOOK_S = 60.0  # how often Slurm is asked for the end of the job: its time limit can be changed while it runs


class Deadline:
    """When the job will be warned before its end."""

    def __init__(
        self, time_left: Callable[[], float | None], warning_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Ask for the end of the job.

        Args:
            time_left: Seconds until the job ends; None if nothing limits it.
            warning_s: How many seconds before the end the warning comes.
            clock: Seconds since some moment.
        """
        self._clock = clock
        self._time_left = time_left
        self._warning_s = warning_s
        self._look()

    def has(self, seconds: float) -> bool:
        """Return whether so much time is left before the warning."""
        if self.left() >= seconds:
            return True
        if self._clock() - self._looked_at > LOOK_S:
            self._look()
        return self.left() >= seconds

    def left(self) -> float:
        """Return the seconds until the warning."""
        return self._ends_at - self._warning_s - self._clock()

    def _look(self) -> None:
        self._looked_at = self._clock()
        left_s = self._time_left()
        self._ends_at = math.inf if left_s is None else self._looked_at + left_s


class StartupTimes:
    """Measures from events how long a trial takes until it can be checkpointed or, without checkpoints, until it ends.

    Attributes:
        longest_s: The longest so far; 0 before the first.
    """

    def __init__(self, emit: Emit, *, with_checkpoints: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Listen to the events.

        Args:
            emit: Takes them afterwards.
            with_checkpoints: Whether a trial that has begun can be checkpointed.
            clock: Seconds since some moment.
        """
        self.longest_s = 0.0
        self._clock = clock
        self._emit = emit
        self._with_checkpoints = with_checkpoints
        self._submitted: dict[str, float] = {}
        self._running: set[str] = set()

    @property
    def is_idle(self) -> bool:
        """Whether every submitted trial has ended."""
        return not self._running

    def submitted(self, group: Group) -> None:
        """Note that a worker gets a group."""
        for spec in group.trials:
            self._submitted[spec.trial_id] = self._clock()
            self._running.add(spec.trial_id)

    def take(self, event: Event) -> None:
        """Note an event, and emit it."""
        has_ended = isinstance(event, Lost | Cancelled) or (isinstance(event, Finished) and not event.is_late)
        if has_ended:
            self._running.discard(event.trial_id)
        if has_ended or (self._with_checkpoints and isinstance(event, Progress) and event.step):
            submitted_at = self._submitted.pop(event.trial_id, math.inf)
            self.longest_s = max(self.longest_s, self._clock() - submitted_at)
        self._emit(event)


class DeadlinePool:
    """A pool around another one, which accepts no group for which the time is too short.

    If nothing runs any more and there is no time for what waits, `wait` interrupts the sweep as the warning does.
    """

    def __init__(self, pool: Pool, deadline: Deadline, times: StartupTimes) -> None:
        self.num_workers, self.cancel, self.keep, self.close = pool.num_workers, pool.cancel, pool.keep, pool.close
        self._pool = pool
        self._deadline = deadline
        self._times = times
        self._is_late = False

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
        """Return whether the other pool accepts such a trial, and there is time for it."""
        self._is_late = not self._deadline.has(self._times.longest_s)
        return not self._is_late and self._pool.accepts(resources, avoid)

    def submit(self, group: Group) -> None:
        """Start a group."""
        self._times.submitted(group)
        self._pool.submit(group)

    def wait(self, timeout_s: float) -> None:
        """Emit the events since the last call."""
        if self._is_late and self._times.is_idle:
            raise KeyboardInterrupt(WARNING_SIGNAL)
        self._pool.wait(timeout_s)
