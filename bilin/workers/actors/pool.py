"""The pool whose workers are Ray actors: long-lived, one group after the other.

Progress is asked for on this process's clock, not sent by the trial: a worker answers while it trains,
because its actor has a second thread for that.
"""

from __future__ import annotations

import itertools
import math
import pickle
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bilin.errors import one_line
from bilin.failures import class_of, class_of_death, ends_worker
from bilin.record import TrialResult
from bilin.registry import package_of
from bilin.spec import Cell, Resources, TrialSpec
from bilin.workers.actors.actor import TrialActor
from bilin.workers.actors.memory import Killed, count_in
from bilin.workers.actors.room import ROUNDING, Node
from bilin.workers.output.files import Outputs
from bilin.workers.pool import Event, Group, Lost, Returned, RunTrial
from bilin.workers.report import Report, ignore
from bilin.workers.training.checkpoint import Checkpoints

PROGRESS_PERIOD_S = 0.5

SILENCE_S = 60.0
"""How long a worker that has begun may not answer before it is taken for lost, whatever Ray says of it."""

PATIENCE_S = 120.0
"""How long it may not answer before it is ended: until then what it says is still heard."""

NODES_PERIOD_S = 5.0
"""How often the pool looks which nodes there are: some come after it has begun, and some go."""

EXAMINATION_S = 15.0
"""How long the node of a worker that died may take to say whether it had memory left."""

NODE_LABEL = "ray.io/node-id"


@dataclass(slots=True, eq=False)
class _Worker:
    name: str
    actor: Any
    resources: Resources
    group: Group | None = None
    progress: Any = None
    heard_at: float | None = None
    node: str | None = None
    pid: int | None = None
    killed: Killed | None = None

    @property
    def silent_s(self) -> float:
        """Seconds since it answered last; 0 for one that has not begun."""
        return 0.0 if self.heard_at is None else time.monotonic() - self.heard_at

    def fits(self, resources: Resources) -> bool:
        return (self.resources.cpus, self.resources.gpus) == (resources.cpus, resources.gpus)


@dataclass(frozen=True, slots=True)
class _Death:
    """A worker that died, and what its node is asked about it."""

    worker: _Worker
    group: Group
    reason: str
    last_words: str
    died_at: float = field(default_factory=time.monotonic)

    def known(self, count: int | None) -> Lost:
        """What became of the group, by how many processes the kernel has ended for want of memory since."""
        killed = self.worker.killed
        out_of_memory = killed is not None and count is not None and count > killed.count
        reason = f"the kernel ended it for want of memory ({self.reason})" if out_of_memory else self.reason
        return Lost(self.group, reason, class_of_death(self.last_words, out_of_memory=out_of_memory), self.worker.node)


class RayPool:
    """At most ``num_workers`` actors on the Ray that this process is connected to, on the nodes that it has by then.

    An actor is started when a group needs it, and ended when it is idle and a group that asks for other
    resources needs its place. A worker that dies is not restarted by Ray: its group comes back as `Lost`,
    and the next group gets a new one.
    """

    def __init__(
        self,
        run: RunTrial,
        *,
        num_workers: int | None,
        report: Report = ignore,
        checkpoints: Checkpoints | None = None,
        outputs: Outputs | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Start with no actors.

        Args:
            run: How a worker runs one trial.
            num_workers: The greatest number of actors; None: as many as there are CPUs.
            report: Called with what running trials say of themselves.
            checkpoints: Where trials keep their state; every worker must see it.
            outputs: Where what trials print is kept; every worker must see it.
            check: Called while waiting; raises where the Ray itself is gone.
        """
        self._run = run
        self._num_workers = num_workers
        self._report: Report = report
        self._checkpoints = checkpoints
        self._outputs = outputs
        self._check = check
        self._nodes: list[Node] = []
        self._looked_at = -math.inf
        self._idle: list[_Worker] = []
        self._busy: dict[Any, _Worker] = {}
        self._silent: dict[Any, _Worker] = {}
        self._deaths: dict[Any, _Death] = {}
        self._names = itertools.count(1)
        self._asked_at = time.monotonic()
        self._look_at_nodes()

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
        """Whether a worker for these resources is idle or can be started now, on none of the nodes to avoid."""
        nodes = self._allowed(resources, avoid)
        return self._idle_on(nodes, resources) is not None or self._has_room(resources, self._busy.values(), nodes)

    def submit(self, group: Group) -> None:
        """Start a group on an idle worker, or on a new one."""
        nodes = self._allowed(group.resources, group.avoid)
        worker = self._idle_on(nodes, group.resources)
        if worker is None:
            self._make_room(group.resources, nodes)
            worker = self._start(group.resources, avoid=[] if nodes is self._nodes else sorted(group.avoid))
        else:
            self._idle.remove(worker)
        worker.group = group
        worker.heard_at = None  # loading torch for its first trial, it may not answer for a while
        # Pickled here: Ray's own pickler handles functions too, and takes three times as long for plain values.
        self._busy[worker.actor.run.remote(pickle.dumps(group.trials))] = worker
        worker.progress = worker.actor.progress.remote()  # at once: one that dies soon has said where it is

    def wait(self, timeout_s: float) -> list[Event]:
        """What has ended; waits up to ``timeout_s`` for the first, and passes reports on meanwhile."""
        self._check()
        self._look_at_nodes()
        self._ask_progress()
        lost = [*self._take_silent(), *self._take_unexamined()]
        running = [*self._busy, *self._silent, *self._deaths]
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
        self._deaths.clear()

    def _look_at_nodes(self) -> None:
        if time.monotonic() - self._looked_at < NODES_PERIOD_S:
            return
        self._looked_at = time.monotonic()
        self._nodes = [Node.of(node) for node in ray.nodes() if node["Alive"]]
        # A worker that was started for a node that went meanwhile waits for the place of an idle one.
        while self._idle and not _hold(self._nodes, [each.resources for each in (*self._busy.values(), *self._idle)]):
            ray.kill(self._idle.pop(0).actor)

    def _allowed(self, resources: Resources, avoid: Collection[str]) -> list[Node]:
        """The nodes for a worker of a size: all, where none that is up and not to be avoided could hold it."""
        if not avoid:
            return self._nodes
        up = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        others = [node for node in self._nodes if node.id in up and node.id not in avoid]
        return others if any(node.holds(resources) >= 1 for node in others) else self._nodes

    def _idle_on(self, nodes: Sequence[Node], resources: Resources) -> _Worker | None:
        """An idle worker of a size on one of some nodes."""
        there = self._on(nodes, self._idle, unknown=False)
        return next((idle for idle in there if idle.fits(resources)), None)

    def _on(self, nodes: Sequence[Node], workers: Iterable[_Worker], *, unknown: bool) -> list[_Worker]:
        """Those of some workers that are on some nodes, with or without those of which it is not known."""
        ids = {*(node.id for node in nodes), *([None] if unknown else [])}
        return [worker for worker in workers if nodes is self._nodes or worker.node in ids]

    def _has_room(self, resources: Resources, workers: Iterable[_Worker], nodes: Sequence[Node]) -> bool:
        workers = list(workers)
        there = self._on(nodes, workers, unknown=True)
        limit = self._num_workers or max(1, int(sum(node.cpus for node in self._nodes)))
        return (
            len(workers) < limit
            # An actor is placed on one node, and a fraction of a GPU on one GPU: sums alone promise too much.
            and sum(worker.fits(resources) for worker in there) < sum(node.holds(resources) for node in nodes)
            and _hold(nodes, [*(worker.resources for worker in there), resources])
        )

    def _make_room(self, resources: Resources, nodes: Sequence[Node]) -> None:
        while self._idle and not self._has_room(resources, [*self._busy.values(), *self._idle], nodes):
            ray.kill(self._idle.pop(0).actor)

    def _start(self, resources: Resources, avoid: Sequence[str]) -> _Worker:
        # Two threads: one trains, the other answers `progress`.
        actor = ray.remote(TrialActor).options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_concurrency=2,
            label_selector={NODE_LABEL: f"!in({','.join(avoid)})"} if avoid else None,
        )
        name = f"ray-{next(self._names)}"
        made = actor.remote(name, self._run, self._checkpoints, self._outputs)
        return _Worker(name=name, actor=made, resources=resources)

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
        """What became of a call; None where it was lost already, or where its worker's death is looked into."""
        if ref in self._deaths:
            return self._examined(ref)
        was_lost = ref in self._silent
        worker = self._silent.pop(ref) if was_lost else self._busy.pop(ref)
        group, worker.group = worker.group, None
        assert group is not None
        try:
            worker.node, results = pickle.loads(ray.get(ref))
        except RayTaskError as error:  # the call itself failed: the worker lives on
            results = [_failed(spec, error) for spec in group.trials]
        except RayError as error:  # dead, out of memory, or out of reach: then it must not train on beside the next
            self._hear(worker)
            ray.kill(worker.actor)
            return None if was_lost else self._examine(self._death(worker, group, error), error)
        worker.progress = None
        if any(ends_worker(result) for result in results):
            ray.kill(worker.actor)
        else:
            self._idle.append(worker)
        return Returned(group, results, worker.node)

    def _death(self, worker: _Worker, group: Group, error: RayError) -> _Death:
        words = [
            self._outputs.last_words(spec.trial_id, worker.name, worker.pid) if self._outputs else ""
            for spec in group.trials
        ]
        return _Death(worker, group, _said_by_ray(error), "".join(words))

    def _examine(self, death: _Death, error: RayError) -> Lost | None:
        """What became of a group whose worker died; None where its node is asked first."""
        worker = death.worker
        if isinstance(error, OutOfMemoryError):
            return Lost(death.group, death.reason, "oom", worker.node)
        if worker.killed is None:
            return death.known(None)
        there = NodeAffinitySchedulingStrategy(worker.node, soft=False)
        ask = ray.remote(count_in).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        self._deaths[ask.remote(worker.killed.source)] = death
        return None

    def _examined(self, ref: Any) -> Lost:
        try:
            count = ray.get(ref)
        except RayError:  # the node went with its worker
            count = None
        return self._deaths.pop(ref).known(count)

    def _take_unexamined(self) -> list[Event]:
        """What is lost with workers whose node does not say how they died."""
        late = [ref for ref, death in self._deaths.items() if time.monotonic() - death.died_at > EXAMINATION_S]
        return [self._deaths.pop(ref).known(None) for ref in late]

    def _ask_progress(self) -> None:
        now = time.monotonic()
        if now - self._asked_at < PROGRESS_PERIOD_S:
            return
        self._asked_at = now
        for worker in self._busy.values():
            self._hear(worker)
            if worker.progress is None:
                worker.progress = worker.actor.progress.remote()

    def _hear(self, worker: _Worker) -> None:
        if worker.progress is not None and ray.wait([worker.progress], timeout=0)[0]:
            self._pass_on(worker)

    def _pass_on(self, worker: _Worker) -> None:
        try:
            worker.node, worker.killed, progress = ray.get(worker.progress)
        except RayError:
            return  # the group's own call says the same, and its answer counts
        worker.progress = None
        worker.heard_at = time.monotonic()
        if progress is not None:
            worker.pid = progress.pid
            self._report(progress)


def _hold(nodes: Sequence[Node], demand: Sequence[Resources]) -> bool:
    """Whether nodes have what is asked for, in sum."""
    return (
        sum(each.cpus for each in demand) <= sum(node.cpus for node in nodes) + ROUNDING
        and sum(each.gpus for each in demand) <= sum(node.gpus for node in nodes) + ROUNDING
    )


def _failed(spec: TrialSpec, error: RayTaskError) -> TrialResult:
    now = time.time()
    cause = error.cause or error
    return TrialResult(
        trial_id=spec.trial_id,
        status=class_of(cause, own=False),
        error=f"{one_line(cause)}{_lacking(spec.cell) if isinstance(cause, ImportError | AttributeError) else ''}",
        traceback=str(error),
        started_at=now,
        finished_at=now,
    )


def _said_by_ray(error: RayError) -> str:
    """Its message, without the command lines of the node's other processes that it lists: those may hold secrets."""
    return str(error).partition("Top 10 memory users")[0].strip()


def _lacking(cell: Cell) -> str:
    """What the machine of a worker that could not read a trial seems to lack."""
    packages = {package for block in (cell.task, cell.model) if (package := package_of(type(block)))}
    return f"; the worker's Python needs {' and '.join(sorted(packages))}, as this one has" if packages else ""
