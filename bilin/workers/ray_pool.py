"""The pool whose workers are Ray actors: long-lived, one group after the other.

Progress is asked for on this process's clock, not sent by the trial: a worker answers while it trains,
because its actor has a second thread for that. The only file of the room that imports ray.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from bilin.errors import one_line
from bilin.record import Progress, TrialResult
from bilin.registry import package_of
from bilin.spec import Cell, Resources, TrialSpec
from bilin.workers.checkpoint import Checkpoints
from bilin.workers.pool import Event, Group, Lost, Report, Returned, RunTrial, ignore, placed

PROGRESS_PERIOD_S = 0.5

SILENCE_S = 60.0
"""How long a worker that has begun may not answer before it is taken for lost, whatever Ray says of it."""

PATIENCE_S = 120.0
"""How long it may not answer before it is ended: until then what it says is still heard."""

ROUNDING = 1e-9
"""What sums of fractions of a CPU or GPU may be off by."""


class TrialActor:
    """What lives in a worker process."""

    def __init__(self, name: str, run: RunTrial, checkpoints: Checkpoints | None) -> None:
        self._name = name
        self._run = run
        self._checkpoints = checkpoints
        self._progress: Progress | None = None
        self._report = placed(self._take, name)

    def run(self, trials: bytes) -> bytes:
        """Run trials, one after the other; pickled results for pickled specs."""
        specs: Sequence[TrialSpec] = pickle.loads(trials)
        return pickle.dumps([self._named(self._run_one(spec)) for spec in specs])

    def progress(self) -> Progress | None:
        """The newest report of the running trial."""
        return self._progress

    def keep(self, timeout_s: float) -> None:
        """Have the running trial keep its state; returns when it did."""
        if self._checkpoints is not None:
            self._checkpoints.ask(timeout_s)

    def _run_one(self, spec: TrialSpec) -> TrialResult:
        self._report(Progress(trial_id=spec.trial_id, step=0, max_steps=spec.cell.train.steps))
        return self._run(spec, report=self._report, checkpoints=self._checkpoints)

    def _take(self, progress: Progress) -> None:
        self._progress = progress

    def _named(self, result: TrialResult) -> TrialResult:
        if result.environment is None:
            return result
        return dataclasses.replace(result, environment=dataclasses.replace(result.environment, worker=self._name))


@dataclass(slots=True, eq=False)
class _Worker:
    actor: Any
    resources: Resources
    group: Group | None = None
    progress: Any = None
    heard_at: float | None = None

    @property
    def silent_s(self) -> float:
        """Seconds since it answered last; 0 for one that has not begun."""
        return 0.0 if self.heard_at is None else time.monotonic() - self.heard_at

    def fits(self, resources: Resources) -> bool:
        return (self.resources.cpus, self.resources.gpus) == (resources.cpus, resources.gpus)


@dataclass(frozen=True, slots=True)
class _Node:
    cpus: float
    gpus: float

    @staticmethod
    def of(resources: Mapping[str, float]) -> _Node:
        return _Node(cpus=resources.get("CPU", 0.0), gpus=resources.get("GPU", 0.0))

    def holds(self, resources: Resources) -> float:
        """How many workers of a size it holds, if of no other."""
        cpus = math.floor(self.cpus / resources.cpus + ROUNDING) if resources.cpus else math.inf
        if not resources.gpus:
            return cpus
        a_gpu = math.floor(1 / resources.gpus + ROUNDING) if resources.gpus < 1 else 1 / resources.gpus
        return min(cpus, math.floor(self.gpus * a_gpu + ROUNDING))


class RayPool:
    """At most ``num_workers`` actors on the Ray that this process is connected to.

    An actor is started when a group needs it, and ended when it is idle and a group that asks for other
    resources needs its place. A worker that dies is not restarted by Ray: its group comes back as `Lost`,
    and the next group gets a new one.
    """

    def __init__(
        self,
        run: RunTrial,
        *,
        num_workers: int,
        report: Report = ignore,
        checkpoints: Checkpoints | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Start with no actors.

        Args:
            run: How a worker runs one trial.
            num_workers: The greatest number of actors.
            report: Called with what running trials say of themselves.
            checkpoints: Where trials keep their state; every worker must see it.
            check: Called while waiting; raises where the Ray itself is gone.
        """
        self._run = run
        self._num_workers = num_workers
        self._report: Report = report
        self._checkpoints = checkpoints
        self._check = check
        self._nodes = [_Node.of(node["Resources"]) for node in ray.nodes() if node["Alive"]]
        self._idle: list[_Worker] = []
        self._busy: dict[Any, _Worker] = {}
        self._silent: dict[Any, _Worker] = {}
        self._names = itertools.count(1)
        self._asked_at = time.monotonic()

    def accepts(self, resources: Resources) -> bool:
        """Whether a worker for these resources is idle or can be started now."""
        return any(worker.fits(resources) for worker in self._idle) or self._has_room(resources, self._busy.values())

    def submit(self, group: Group) -> None:
        """Start a group on an idle worker, or on a new one."""
        worker = next((idle for idle in self._idle if idle.fits(group.resources)), None)
        if worker is None:
            self._make_room(group.resources)
            worker = self._start(group.resources)
        else:
            self._idle.remove(worker)
        worker.group = group
        worker.heard_at = None  # loading torch for its first trial, it may not answer for a while
        # Pickled here: Ray's own pickler handles functions too, and takes three times as long for plain values.
        self._busy[worker.actor.run.remote(pickle.dumps(group.trials))] = worker

    def wait(self, timeout_s: float) -> list[Event]:
        """What has ended; waits up to ``timeout_s`` for the first, and passes reports on meanwhile."""
        self._check()
        self._ask_progress()
        lost = self._take_silent()
        running = [*self._busy, *self._silent]
        if lost or not running:
            return lost
        ready, _ = ray.wait(running, num_returns=1, timeout=min(timeout_s, PROGRESS_PERIOD_S))
        return [event for ref in ready if (event := self._collect(ref)) is not None]

    def keep(self, timeout_s: float) -> None:
        """Have every running trial keep its state, if it can within ``timeout_s``."""
        asked = [worker.actor.keep.remote(timeout_s) for worker in self._busy.values()]
        if asked:
            ray.wait(asked, num_returns=len(asked), timeout=timeout_s)

    def close(self) -> None:
        """Kill every worker, whatever it is doing."""
        for worker in [*self._idle, *self._busy.values(), *self._silent.values()]:
            ray.kill(worker.actor)
        self._idle.clear()
        self._busy.clear()
        self._silent.clear()

    def _has_room(self, resources: Resources, workers: Iterable[_Worker]) -> bool:
        there = list(workers)
        cpus = sum(worker.resources.cpus for worker in there) + resources.cpus
        gpus = sum(worker.resources.gpus for worker in there) + resources.gpus
        return (
            len(there) < self._num_workers
            # An actor is placed on one node, and a fraction of a GPU on one GPU: sums alone promise too much.
            and sum(worker.fits(resources) for worker in there) < sum(node.holds(resources) for node in self._nodes)
            and cpus <= sum(node.cpus for node in self._nodes) + ROUNDING
            and gpus <= sum(node.gpus for node in self._nodes) + ROUNDING
        )

    def _make_room(self, resources: Resources) -> None:
        while self._idle and not self._has_room(resources, [*self._busy.values(), *self._idle]):
            ray.kill(self._idle.pop(0).actor)

    def _start(self, resources: Resources) -> _Worker:
        # Two threads: one trains, the other answers `progress`.
        actor = ray.remote(TrialActor).options(num_cpus=resources.cpus, num_gpus=resources.gpus, max_concurrency=2)
        made = actor.remote(f"ray-{next(self._names)}", self._run, self._checkpoints)
        return _Worker(actor=made, resources=resources)

    def _take_silent(self) -> list[Event]:
        """What is lost with workers that no longer answer; those that have not for long are ended."""
        for ref in [ref for ref, worker in self._silent.items() if worker.silent_s > PATIENCE_S]:
            ray.kill(self._silent.pop(ref).actor)
        lost: list[Event] = []
        for ref in [ref for ref, worker in self._busy.items() if worker.silent_s > SILENCE_S]:
            worker = self._silent[ref] = self._busy.pop(ref)
            assert worker.group is not None
            lost.append(Lost(worker.group, f"its worker has been silent for {SILENCE_S:g} s"))
        return lost

    def _collect(self, ref: Any) -> Event | None:
        """What became of a call; None where it was lost already."""
        was_lost = ref in self._silent
        worker = self._silent.pop(ref) if was_lost else self._busy.pop(ref)
        group, worker.group, worker.progress = worker.group, None, None
        assert group is not None
        try:
            results: list[TrialResult] = pickle.loads(ray.get(ref))
        except RayTaskError as error:  # the call itself failed: the worker lives on
            results = [_failed(spec, error) for spec in group.trials]
        except RayError as error:  # dead, out of memory, or out of reach: then it must not train on beside the next
            ray.kill(worker.actor)
            return None if was_lost else Lost(group, str(error))
        self._idle.append(worker)
        return Returned(group, results)

    def _ask_progress(self) -> None:
        now = time.monotonic()
        if now - self._asked_at < PROGRESS_PERIOD_S:
            return
        self._asked_at = now
        for worker in self._busy.values():
            if worker.progress is not None and ray.wait([worker.progress], timeout=0)[0]:
                self._pass_on(worker)
            if worker.progress is None:
                worker.progress = worker.actor.progress.remote()

    def _pass_on(self, worker: _Worker) -> None:
        try:
            progress = ray.get(worker.progress)
        except RayError:
            return  # the group's own call says the same, and its answer counts
        worker.progress = None
        worker.heard_at = time.monotonic()
        if progress is not None:
            self._report(progress)


def _failed(spec: TrialSpec, error: RayTaskError) -> TrialResult:
    now = time.time()
    cause = error.cause or error
    return TrialResult(
        trial_id=spec.trial_id,
        status="failed",
        error=f"{one_line(cause)}{_lacking(spec.cell) if isinstance(cause, ImportError | AttributeError) else ''}",
        traceback=str(error),
        started_at=now,
        finished_at=now,
    )


def _lacking(cell: Cell) -> str:
    """What the machine of a worker that could not read a trial seems to lack."""
    packages = {package for block in (cell.task, cell.model) if (package := package_of(type(block)))}
    return f"; the worker's Python needs {' and '.join(sorted(packages))}, as this one has" if packages else ""
