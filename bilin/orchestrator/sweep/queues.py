"""The trials that wait in a sweep, and which of them go to a worker together."""

from __future__ import annotations

import itertools
import sys
import time
from collections import defaultdict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from bilin.failures import MAX_ATTEMPTS
from bilin.orchestrator.planning.cell import Kind
from bilin.record import Progress, TrialResult
from bilin.spec import Resources, TrialSpec
from bilin.workers.environment import device_of
from bilin.workers.events import Checkpointed, Started
from bilin.workers.pool import Pool

GROUP_S = 0.1
"""How long a call to a worker should take: short trials share one, as many as take this long together."""

MAX_GROUP = 64
"""Greatest number of trials in one call."""

MAX_PACK = {"cpu": 16, "cuda": 64}
"""Most trials of a pack whose size is not given. On a CPU no tier gains from more."""

SMALLER = 4
"""How many times smaller a group is when trials of a lost group run again."""

MAX_PASSED = 256
"""How many trials of other shapes are passed over in search of those of one shape."""


@dataclass(slots=True, eq=False)
class Trial:
    """A wanted trial that has not ended.

    Attributes:
        occupied: What it takes of a node; see `Resources.occupied`.
        attempts: How many times it was started.
        avoid: The nodes that its next attempt must not run on.
        reason: Why it waits to run again.
        is_first: Whether it waits before those that were never started.
        group: Number of the call in which it was last given to a worker.
        group_size: With how many trials, itself included.
        since: When it was given to a worker, in seconds since the epoch; the attributes below are of this attempt.
    """

    spec: TrialSpec
    trial_id: str
    cell_id: str
    kind: Kind
    occupied: Resources
    attempts: int = 0
    avoid: frozenset[str] = frozenset()
    reason: str | None = None
    is_first: bool = False
    group: int = 0
    group_size: int = 1
    since: float = 0.0
    started: Started | None = None
    progress: Progress | None = None
    checkpointed: Checkpointed | None = None

    @property
    def max_group(self) -> int:
        """Most trials in its next group.

        If a worker dies, it is not known which trial of its group was at fault. So the groups of those that start
        again are smaller, and the last attempt is alone.
        """
        if not self.attempts:
            return sys.maxsize
        is_last = self.attempts + 1 >= MAX_ATTEMPTS
        return 1 if is_last or self.avoid else max(1, self.group_size // SMALLER)

    def begin(self, group: int, group_size: int) -> None:
        """Begin an attempt: a worker gets the trial, in a group of this size."""
        self.attempts += 1
        self.group, self.group_size = group, group_size
        self.reason, self.since = None, time.time()
        self.started = self.progress = self.checkpointed = None


class Queues:
    """The trials that wait, in one queue for each size and each set of nodes to avoid."""

    def __init__(self, *, packs: bool) -> None:
        """Start empty. With ``packs``, workers train trials of one shape as one program."""
        self._packs = packs
        self._queues: dict[tuple[Resources, frozenset[str]], deque[Trial]] = defaultdict(deque)
        self._wall_s: dict[Kind, float] = {}  # of the last trial of each kind
        self._unstackable: set[Hashable] = set()  # shapes whose trials a worker trains one after the other

    def add(self, trial: Trial, *, first: bool = False) -> None:
        """Add a trial at the end of its queue; one that starts again, or goes on, comes ``first``."""
        queue, trial.is_first = self._of(trial), first
        queue.appendleft(trial) if first else queue.append(trial)

    def remove(self, trial: Trial) -> None:
        """Remove a trial that waits."""
        self._of(trial).remove(trial)

    def retrying(self) -> Iterator[Trial]:
        """Yield the trials that were started and wait: they are among those at the heads of their queues."""
        for queue in self._queues.values():
            yield from (trial for trial in itertools.takewhile(attrgetter("is_first"), queue) if trial.attempts)

    def learn(self, trial: Trial, result: TrialResult) -> None:
        """Learn from a trial that ended how large the next groups of its kind and its shape should be."""
        if trial.spec.test_only:
            return
        self._wall_s[trial.kind] = result.wall_s
        was_alone = result.environment is not None and result.environment.pack == 1
        if self._packs and trial.group_size > 1 and was_alone and result.status == "done":  # a failure is alone anyway
            self._unstackable.add(trial.spec.shape)

    def groups(self, pool: Pool) -> Iterator[tuple[list[Trial], frozenset[str]]]:
        """Take groups, with the nodes that each must avoid, while the pool has room.

        Trials that avoid nodes come first: any free node suits the others.
        """
        for (_, avoid), queue in sorted(self._queues.items(), key=lambda item: not item[0][1]):
            while queue and pool.accepts(queue[0].spec.resources, avoid):
                yield self._next_group(queue, pool), avoid

    def _of(self, trial: Trial) -> deque[Trial]:
        return self._queues[trial.occupied, trial.avoid]

    def _next_group(self, queue: deque[Trial], pool: Pool) -> list[Trial]:
        """Take the next trial from a queue, with others that can share its pack, or of its kind if they are short."""
        leader = queue.popleft()
        group, passed = [leader], list[Trial]()
        if leader.spec.test_only:
            return group
        wall_s = self._wall_s.get(leader.kind)
        size = min(MAX_GROUP, int(GROUP_S / wall_s)) if wall_s else 1
        if self._packs and not (self._unstackable and leader.spec.shape in self._unstackable):
            resources, share = leader.spec.resources, -(-(len(queue) + 1) // pool.num_workers(leader.spec.resources))
            size = max(size, min(share, resources.pack or MAX_PACK[device_of(resources)]))
        size = min(size, leader.max_group)
        while queue and len(group) < size and len(passed) < MAX_PASSED:
            trial = queue.popleft()
            (group if self._fits(trial, leader) else passed).append(trial)
        queue.extendleft(reversed(passed))
        return group

    def _fits(self, trial: Trial, leader: Trial) -> bool:
        """Return whether a trial that waits can join the group of another one."""
        if trial.attempts != leader.attempts or trial.spec.test_only:
            return False
        return trial.spec.shape == leader.spec.shape if self._packs else trial.kind == leader.kind
