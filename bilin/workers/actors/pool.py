"""The pool whose workers are Ray actors: long-lived, one group after the other, placed on the nodes that there are."""

from __future__ import annotations

import itertools
import math
import pickle
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from bilin.errors import one_line, plain
from bilin.failures import class_of
from bilin.record import TrialResult
from bilin.registry import package_of
from bilin.spec import Resources, TrialSpec
from bilin.workers.actors.actor import TrialActor
from bilin.workers.actors.node import Node, actor_options, amounts_of, hold
from bilin.workers.actors.worker import PERIOD_S, Deaths, Poller, Worker, lost
from bilin.workers.events import Emit, Event, Finished, ignore
from bilin.workers.output import Outputs
from bilin.workers.pool import Group, RunTrial
from bilin.workers.training.checkpoint import Checkpoints

SILENCE_S = 60.0
"""How long a worker that has begun may be silent before it counts as lost, even if Ray believes it alive."""

PATIENCE_S = 60.0
"""How long a lost worker may still send a result before it is ended."""

LOOK_PERIOD_S = 5.0
"""How often the pool looks which nodes there are: some come after the sweep has begun, and some go."""

NODE_LABEL = "ray.io/node-id"


class RayPool:
    """At most ``num_workers`` actors on the Ray that this process is connected to, on the nodes that it has by then.

    An actor is started when a group needs it, and ended when it is idle and a group that asks for other
    resources needs its place. A worker that dies is not restarted by Ray: its trials are `Lost`, and the next group
    gets a new one.
    """

    def __init__(
        self,
        run: RunTrial | None,
        *,
        num_workers: int | None,
        emit: Emit = ignore,
        checkpoints: Checkpoints | None = None,
        outputs: Outputs | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Start with no actors.

        Args:
            run: See `bilin.workers.runner.TrialRunner`.
            num_workers: The greatest number of actors; None: as many as there are CPUs.
            emit: Takes the events.
            checkpoints: Every worker must see their folder.
            outputs: Every worker must see their folder too.
            check: Called while waiting; raises if the Ray itself is gone.
        """
        self._making = (run, checkpoints, outputs)
        self._emit = emit
        self._check = check
        self._placement = Placement(num_workers)
        self._poller = Poller(emit)
        self._deaths = Deaths(outputs)
        self._idle: list[Worker] = []
        self._busy: dict[Any, Worker] = {}
        self._silent: dict[Any, Worker] = {}
        self._names = itertools.count(1)
        self._placement.look()

    def num_workers(self, resources: Resources) -> int:
        """How many workers for these resources there can be on the nodes that are up."""
        return self._placement.num_workers(resources)

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
        """Whether a worker for these resources is idle or can be started now, on none of the nodes to avoid."""
        nodes = self._placement.allowed(resources, avoid)
        idle = self._placement.find(self._idle, resources, nodes)
        return idle is not None or self._placement.has_room(resources, self._busy.values(), nodes)

    def submit(self, group: Group) -> None:
        """Start a group on an idle worker that fits, or on a new one, for which other idle ones make room."""
        nodes = self._placement.allowed(group.resources, group.avoid)
        worker = self._placement.find(self._idle, group.resources, nodes)
        if worker:
            self._idle.remove(worker)
        else:
            while self._idle and not self._placement.has_room(group.resources, self._workers, nodes):
                ray.kill(self._idle.pop(0).actor)
            worker = self._start(group.resources, avoid=[] if nodes is self._placement.nodes else sorted(group.avoid))
        worker.trials = {spec.trial_id: spec for spec in group.trials}
        worker.silent_s = 0.0
        if worker.node is None:
            worker.ask()
        # Pickled here: Ray's own pickler handles functions too, and takes three times as long for plain values.
        trials = pickle.dumps(group.trials)
        # Ray sends a call once its arguments are there: the answer of a new worker names its node, which the pool must
        # know even if the first trial ends the process at once.
        self._busy[worker.actor.run.remote(trials, worker.question)] = worker

    def wait(self, timeout_s: float) -> None:
        """Emit what has happened; wait up to ``timeout_s`` until a group ends."""
        self._check()
        if self._placement.look():
            # A worker that was started for a node that went meanwhile waits for the place of an idle one.
            while self._idle and not hold(self._placement.nodes, [worker.amounts for worker in self._workers]):
                ray.kill(self._idle.pop(0).actor)
        self._poller.poll(self._busy.values())
        if gone := [*self._lose_silent(), *self._deaths.unanswered()]:
            for event in gone:
                self._emit(event)
            return
        running = [*self._busy, *self._silent, *self._deaths.open]
        if not running:  # nothing fits on a node that there is, and some may come
            time.sleep(min(timeout_s, PERIOD_S))
            return
        ready, rest = ray.wait(running, num_returns=1, timeout=min(timeout_s, PERIOD_S))
        if ready and rest:  # what else has ended: with thousands of workers a look at all of them takes its time
            ready += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        for ref in ready:
            is_call = ref in self._busy or ref in self._silent
            for event in self._collect(ref) if is_call else self._deaths.answered(ref):
                self._emit(event)

    def cancel(self, trial_id: str) -> None:
        """Tell the worker of a trial to end it, and to go on with the next of its group."""
        for worker in self._busy.values():
            if trial_id in worker.trials:
                worker.actor.cancel.remote(trial_id)

    def keep(self, timeout_s: float) -> None:
        """Have every running trial write a checkpoint, if it can within ``timeout_s``."""
        begun = [worker for worker in self._busy.values() if worker.has_begun]  # one that still loads has none to write
        if begun:
            calls = [worker.actor.keep.remote(timeout_s) for worker in begun]
            ray.wait(calls, num_returns=len(calls), timeout=timeout_s)

    def close(self) -> None:
        """Kill every worker, whatever it is doing."""
        for worker in [*self._idle, *self._busy.values(), *self._silent.values()]:
            ray.kill(worker.actor)
        for known in (self._idle, self._busy, self._silent, self._deaths.open):
            known.clear()

    @property
    def _workers(self) -> list[Worker]:
        return [*self._busy.values(), *self._idle]

    def _start(self, resources: Resources, avoid: Sequence[str]) -> Worker:
        # Two threads: one trains, the other answers.
        actor = ray.remote(TrialActor).options(
            **actor_options(resources),
            max_concurrency=2,
            label_selector={NODE_LABEL: f"!in({','.join(avoid)})"} if avoid else None,
        )
        name = f"ray-{next(self._names)}"
        return Worker(name=name, actor=actor.remote(name, *self._making), amounts=amounts_of(resources))

    def _lose_silent(self) -> list[Event]:
        """Return what is lost with workers that no longer answer, and end those that have not for long."""
        now = time.monotonic()
        for ref in [ref for ref, worker in self._silent.items() if now - (worker.lost_at or now) > PATIENCE_S]:
            ray.kill(self._silent.pop(ref).actor)
        events: list[Event] = []
        for ref in [ref for ref, worker in self._busy.items() if worker.silent_s > SILENCE_S]:
            worker = self._silent[ref] = self._busy.pop(ref)
            worker.lost_at = now
            events += lost(worker, f"{worker.name} has been silent for {SILENCE_S:g} s")
        return events

    def _collect(self, ref: Any) -> Sequence[Event]:
        """Take the end of a group's call; its worker is then idle, or dead."""
        is_late = ref in self._silent
        worker = self._silent.pop(ref) if is_late else self._busy.pop(ref)
        try:
            events = worker.take(ray.get(ref))
        except RayTaskError as error:  # the call itself failed: the worker lives on
            events = [worker.finish(_failed(spec, error)) for spec in list(worker.trials.values())]
        except RayError as error:  # dead, out of memory, or out of reach: then it must not train on beside the next
            self._poller.drain(worker)
            ray.kill(worker.actor)
            return [] if is_late else self._deaths.examine(worker, error)
        if is_late:  # its results count; its other events are of trials that may run elsewhere by now
            events = [event for event in events if isinstance(event, Finished)]
        else:
            events += lost(worker, f"{worker.name} was ended because of another trial's failure")
        worker.trials, worker.question, worker.lost_at = {}, None, None
        if worker.is_spoiled:
            ray.kill(worker.actor)
        else:
            self._idle.append(worker)
        return events


class Placement:
    """Where workers may be: on the nodes of this Ray, at most ``num_workers`` of them; None: as many as CPUs."""

    def __init__(self, num_workers: int | None) -> None:
        self._limit = num_workers
        self._looked_at = -math.inf
        self.nodes: list[Node] = []

    @property
    def limit(self) -> int:
        """Most workers at a time."""
        return self._limit or max(1, int(sum(node.cpus for node in self.nodes)))

    def num_workers(self, resources: Resources) -> int:
        """Return how many workers of a size there can be: of those with a GPU, fewer than CPUs."""
        return max(1, int(min(self.limit, sum(node.holds(resources) for node in self.nodes))))

    def look(self) -> bool:
        """Look which nodes there are, if it is time; return whether it was."""
        if time.monotonic() - self._looked_at < LOOK_PERIOD_S:
            return False
        self._looked_at = time.monotonic()
        self.nodes = _alive()
        return True

    def allowed(self, resources: Resources, avoid: Collection[str]) -> list[Node]:
        """Return the nodes for a worker of a size: those not to avoid, or all if none of those could hold it."""
        if not avoid:
            return self.nodes
        up = {node.id for node in _alive()}
        others = [node for node in self.nodes if node.id in up and node.id not in avoid]
        return others if any(node.holds(resources) >= 1 for node in others) else self.nodes

    def find(self, idle: Iterable[Worker], resources: Resources, nodes: Sequence[Node]) -> Worker | None:
        """Return one of some idle workers that has the size and is on one of some nodes."""
        wanted = amounts_of(resources)
        return next((worker for worker in self._on(nodes, idle, unknown=False) if worker.amounts == wanted), None)

    def has_room(self, resources: Resources, workers: Collection[Worker], nodes: Sequence[Node]) -> bool:
        """Return whether some nodes have room for one more worker of a size beside the present ones."""
        wanted, there = amounts_of(resources), [worker.amounts for worker in self._on(nodes, workers, unknown=True)]
        return (
            len(workers) < self.limit
            # An actor is placed on one node, and a fraction of a GPU on one GPU: sums alone promise too much.
            and there.count(wanted) < sum(node.holds(resources) for node in nodes)
            and hold(nodes, [*there, wanted])
        )

    def _on(self, nodes: Sequence[Node], workers: Iterable[Worker], *, unknown: bool) -> list[Worker]:
        """Those of some workers that are on some nodes; with ``unknown``, also those whose node is not known."""
        ids = {*(node.id for node in nodes), *([None] if unknown else [])}
        return [worker for worker in workers if nodes is self.nodes or worker.node in ids]


def _alive() -> list[Node]:
    return [Node.of(node) for node in ray.nodes() if node["Alive"]]


def _failed(spec: TrialSpec, error: RayTaskError) -> TrialResult:
    now = time.time()
    cause = error.cause or error
    lacking = ""
    if isinstance(cause, ImportError | AttributeError):  # the worker could not read the trial
        packages = {package for block in (spec.cell.task, spec.cell.model) if (package := package_of(type(block)))}
        lacking = f"; the worker's Python needs {' and '.join(sorted(packages))}, as this one has" if packages else ""
    return TrialResult(
        trial_id=spec.trial_id,
        status=class_of(cause, own=False),
        error=f"{one_line(cause)}{lacking}",
        traceback=plain(str(error)),
        started_at=now,
        finished_at=now,
    )
