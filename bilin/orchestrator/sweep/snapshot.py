"""What a running sweep looks like at one moment: one object, for displays here and on other machines.

The sweep makes several a second, and writes one to its folder every `PERIOD_S`. Snapshots are only for
display: no launch reads one, and a launch that was killed leaves its last one behind.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bilin.fields import Value, fields_of, values_of
from bilin.folder import SweepFolder, partial_of
from bilin.record import RESULT_STATUSES, Status
from bilin.spec import Cell, Point

PERIOD_S = 2.0
"""How often the snapshot in a sweep's folder is replaced."""

MAX_NOTES = 50
"""How many of the latest notes a snapshot has."""

NUM_LEADERS = 10
"""How many of the best trials a snapshot has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTrial:
    """A trial that was given to a worker.

    Attributes:
        label: The task, the tier, and what else tells its cell from others.
        attempt: How many times this launch has started the trial.
        since: When it was given to its worker, in seconds since the epoch.
        worker: Name of the worker; None if no worker has begun it, or if it runs in the sweep's process. ``host`` and
            ``pid`` are None if no worker has begun it.
        step: Steps taken; ``loss`` and ``accuracy`` are those of the last evaluation.
        searched: The values of the searched fields of its cell, by their names.
        checkpoint_step: Steps up to its last checkpoint of this attempt; None if it has written none.
    """

    trial_id: str
    cell_id: str
    label: str
    lr: float
    seed: int
    attempt: int
    since: float
    max_steps: int
    worker: str | None = None
    host: str | None = None
    pid: int | None = None
    step: int = 0
    loss: float | None = None
    accuracy: float | None = None
    checkpoint_step: int | None = None
    searched: Mapping[str, float] = field(default_factory=dict)

    @property
    def point(self) -> Point:
        """The learning rate and the values of the searched fields."""
        return Point(self.lr, tuple(self.searched.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Leader:
    """The best trial of a cell in this launch, by what selects a point: never by a tested length."""

    trial_id: str
    label: str
    lr: float
    seed: int
    steps: int
    solved: bool
    validation_accuracy: float | None
    searched: Mapping[str, float] = field(default_factory=dict)

    @property
    def point(self) -> Point:
        """The learning rate and the values of the searched fields."""
        return Point(self.lr, tuple(self.searched.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a running sweep looks like at one moment.

    Attributes:
        at: That moment, in seconds since the epoch, by the clock of the host that runs the sweep.
        host: Where the sweep's process runs.
        is_part: Whether the launch runs only some cells of the grid.
        num_elsewhere: Trials to run in the other cells, when the launch began.
        num_wanted: The greatest number of trials of the launch's cells.
        found: Wanted trials that were stored before, by status.
        ended: Trials that ended in this launch, by status.
        num_tests: Those of them that were only tested, with their kept weights.
        num_unfinished: Trials that failed in this launch, but keep their stored result; the next one runs them again.
        num_open: Trials that wait or run.
        num_later: Trials that later rounds of searches will ask for, at most.
        may_end_early: Whether a search may ask for fewer, as with ``until_solved``.
        trials_per_s: Trials that ended per second since the start.
        steps_per_s: Training steps per second since the start, those of all trials together.
        num_packs: Number of packs that run; a lone trial is one.
        num_gpus: Number of GPUs that they hold.
        retries: Why trials that were started wait to run another time, by their ids.
        leaders: The best trials, one a cell at most.
        notes: The latest notes: failures and lost workers; there were ``num_notes`` in all.
        stopped: Why the sweep stopped early, if it did.
    """

    sweep: str
    at: float
    host: str
    pid: int
    started_at: float
    is_part: bool
    num_elsewhere: int
    num_cells: int
    num_wanted: int
    found: Mapping[Status, int]
    ended: Mapping[Status, int]
    num_tests: int
    num_unfinished: int
    num_open: int
    num_later: int
    may_end_early: bool
    trials_per_s: float
    steps_per_s: float
    num_packs: int
    num_gpus: float
    running: tuple[RunningTrial, ...]
    retries: Mapping[str, str]
    leaders: tuple[Leader, ...]
    notes: tuple[str, ...]
    num_notes: int
    stopped: str | None = None

    @property
    def num_found(self) -> int:
        """Wanted trials that had their result before this launch."""
        return _sum(self.found, with_result=True)

    @property
    def num_done(self) -> int:
        """Wanted trials that have a result, from before or from this launch."""
        return self.num_found + _sum(self.ended, with_result=True)

    @property
    def num_failed(self) -> int:
        """Wanted trials that ended without a result and have none stored, before or in this launch."""
        return _sum(self.found, with_result=False) + _sum(self.ended, with_result=False) - self.num_unfinished

    @property
    def num_ended(self) -> int:
        """Trials that ended in this launch, with a result or without."""
        return sum(self.ended.values())

    @property
    def num_left(self) -> int:
        """Trials that wait or run, and those of later rounds of searches."""
        return self.num_open + self.num_later

    @property
    def num_total(self) -> int:
        """Trials that are done, that failed, and that are left."""
        return self.num_done + self.num_failed + self.num_unfinished + self.num_left

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end at the speed so far; None before the first trial has ended."""
        return self.num_left / self.trials_per_s if self.num_ended else None

    def trial(self, trial_id: str) -> RunningTrial | None:
        """Return a trial by its id, if it has a worker."""
        return next((trial for trial in self.running if trial.trial_id == trial_id), None)


Observer = Callable[[Snapshot], None]
"""Takes a snapshot a few times a second, from the sweep's own thread, and once at the end."""


class SnapshotFile:
    """An observer that keeps the snapshot in a sweep's folder up to date."""

    def __init__(self, folder: SweepFolder) -> None:
        self._path = folder.snapshot
        self._partial = partial_of(folder.snapshot)
        self._written_at = -PERIOD_S

    def __call__(self, snapshot: Snapshot) -> None:
        """Write a snapshot, if it is time. A full disk is reported where results are written."""
        if time.monotonic() - self._written_at < PERIOD_S:
            return
        self._written_at = time.monotonic()
        with suppress(OSError):
            self._partial.write_text(json.dumps(snapshot, default=attributes))
            self._partial.replace(self._path)

    def remove(self) -> None:
        """Remove the file: nothing runs any more."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
            self._partial.unlink(missing_ok=True)


def read_snapshot(folder: SweepFolder) -> Snapshot | None:
    """Return the snapshot in a sweep's folder; None if there is none, or another version of bilin wrote it."""
    try:
        values = json.loads(folder.snapshot.read_bytes())
        running = tuple(RunningTrial(**trial) for trial in values.pop("running"))
        leaders = tuple(Leader(**leader) for leader in values.pop("leaders"))
        return Snapshot(running=running, leaders=leaders, notes=tuple(values.pop("notes")), **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


class Labels:
    """Short names for the cells of one grid: task and tier, with the fields that vary between the cells."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        first: dict[str, Value] = {}
        self._varying: set[str] = set()
        blocks = ((block, cell.searched) for cell in cells for block in (cell.task, cell.model, cell.train))
        for block, searched in dict.fromkeys(blocks):
            for name, value in values_of(block).items():
                value = "searched" if name in searched else value
                if first.setdefault(name, value) != value:
                    self._varying.add(name)

    def label(self, cell: Cell) -> str:
        """Return a name such as ``modular_addition m=5 · cp rank=64``."""
        task = " ".join([cell.task.name, *self._fields(cell.task)])
        model = " ".join([cell.model.tier, *self._fields(cell.model, cell.searched, required=True)])
        return " · ".join([task, model, *self._fields(cell.train, cell.searched)])

    def _fields(self, block: object, searched: Collection[str] = (), *, required: bool = False) -> list[str]:
        fields = fields_of(type(block))
        shown = [name for name in fields if name in self._varying or (required and fields[name].required)]
        return [f"{name}={'searched' if name in searched else getattr(block, name)}" for name in shown]


def _sum(statuses: Mapping[Status, int], *, with_result: bool) -> int:
    return sum(count for status, count in statuses.items() if (status in RESULT_STATUSES) == with_result)


def attributes(record: object) -> dict[str, Any]:
    """Return the attributes of a snapshot or a part of one, in a third of the time of `asdict`, which copies them."""
    return {name: getattr(record, name) for name in type(record).__slots__}  # type: ignore[attr-defined]
