"""What a sweep does now, on disk: seen from every machine that sees the store.

The sweep process replaces one small file every `PERIOD_S`, and removes it at the end. It is for looking at alone:
no launch reads it, and one that ended without removing it leaves a file that says how things stood then.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bilin.orchestrator.running.progress import Running, SweepState
from bilin.record import Status

ACTIVITY = "running.json"
PERIOD_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTrial:
    """A trial that has a worker.

    Attributes:
        attempt: How often it was started by this launch.
        since: When it was given to its worker, in seconds since the epoch.
        worker, host, pid: Where it runs; None if no worker has begun it.
        step: Steps taken, at the ``loss`` and ``accuracy`` of its last evaluation.
    """

    trial_id: str
    cell_id: str
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What a sweep did at one moment.

    Attributes:
        at: That moment, in seconds since the epoch, by the clock of the host that runs the sweep.
        started_at: When the launch began; ``host`` and ``pid`` are those of its process.
        ended: Trials that ended in this launch, by status; ``num_found`` had their result before.
        num_left: Trials that wait or run.
        trials_per_s: Trials that ended a second, since the start.
        narrowed: Whether the launch was asked for a part of the grid only.
        running: The trials that have a worker.
        again: Why trials that were started wait once more, by their ids.
    """

    at: float
    host: str
    pid: int
    started_at: float
    num_found: int
    ended: Mapping[Status, int]
    num_left: int
    trials_per_s: float
    narrowed: bool
    running: tuple[RunningTrial, ...]
    again: Mapping[str, str]

    def trial(self, trial_id: str) -> RunningTrial | None:
        """The trial of an id, where it has a worker."""
        return next((trial for trial in self.running if trial.trial_id == trial_id), None)


@dataclass(slots=True)
class ActivityFile:
    """An observer that keeps the file of a sweep's folder up to date."""

    directory: Path
    _written_at: float = -PERIOD_S
    _started_at: float = field(default_factory=time.time)

    def __call__(self, state: SweepState) -> None:
        """Write how things stand, if the time has come. A disk that is full is for the results to say."""
        if time.monotonic() - self._written_at < PERIOD_S:
            return
        self._written_at = time.monotonic()
        path = self.directory / ACTIVITY
        beside = path.with_name(f"{ACTIVITY}.new")
        with suppress(OSError):
            beside.write_text(json.dumps(_activity(state, self._started_at), default=_values))
            beside.replace(path)

    def drop(self) -> None:
        """Remove the file: nothing runs any more."""
        for name in (ACTIVITY, f"{ACTIVITY}.new"):
            with suppress(OSError):
                (self.directory / name).unlink()


def read_activity(directory: Path) -> Activity | None:
    """What the file in a sweep's folder says; None where there is none that can be read."""
    try:
        values = json.loads((directory / ACTIVITY).read_bytes())
        running = tuple(RunningTrial(**trial) for trial in values.pop("running"))
        return Activity(running=running, **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # of another version of bilin, or half on disk
        return None


def _activity(state: SweepState, started_at: float) -> Activity:
    return Activity(
        at=time.time(),
        host=socket.gethostname(),
        pid=os.getpid(),
        started_at=started_at,
        num_found=state.plan.num_done,
        ended=dict(state.statuses),
        num_left=state.num_left,
        trials_per_s=state.trials_per_s,
        narrowed=not state.plan.grid.is_whole,
        running=tuple(_running(trial_id, each) for trial_id, each in state.running.items()),
        again=dict(state.again),
    )


def _running(trial_id: str, each: Running) -> RunningTrial:
    started, progress = each.started, each.progress
    return RunningTrial(
        trial_id=trial_id,
        cell_id=each.spec.cell.cell_id,
        lr=each.spec.lr,
        seed=each.spec.seed,
        attempt=each.attempt,
        since=each.since,
        max_steps=each.spec.cell.train.steps,
        worker=started.worker if started else None,
        host=started.host if started else None,
        pid=started.pid if started else None,
        step=progress.step if progress else 0,
        loss=progress.loss if progress else None,
        accuracy=progress.accuracy if progress else None,
    )


def _values(each: object) -> dict[str, Any]:
    """The attributes of one of these; a third of the time that `dataclasses.asdict` takes, which copies them."""
    return {name: getattr(each, name) for name in type(each).__slots__}  # type: ignore[attr-defined]
