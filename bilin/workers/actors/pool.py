"""The pool whose workers are Ray actors: long-lived, one group after the other."""

from __future__ import annotations

import itertools
import pickle
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from bilin.errors import one_line
from bilin.failures import class_of, ends_worker
from bilin.record import TrialResult
from bilin.registry import package_of
from bilin.spec import Cell, Resources, TrialSpec
from bilin.workers.actors.actor import TrialActor
from bilin.workers.actors.deaths import Deaths
from bilin.workers.actors.hearing import PERIOD_S, Hearing
from bilin.workers.actors.node import asked, options
from bilin.workers.actors.placement import Placement
from bilin.workers.actors.worker import Worker
from bilin.workers.output.files import Outputs
from bilin.workers.pool import Event, Group, Lost, Returned, RunTrial
from bilin.workers.report import Report, ignore
from bilin.workers.training.checkpoint import Checkpoints

SILENCE_S = 60.0
"""How long a worker that has begun may not answer before it is taken for lost, whatever Ray says of it."""

PATIENCE_S = 60.0
"""How long one that was taken for lost is still heard before it is ended."""

NODE_LABEL = "ray.io/node-id"


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
        self._making = (run, checkpoints, outputs)
        self._check = check
        self._placement = Placement(num_workers)
        self._hearing = Hearing(report)
        self._deaths = Deaths(outputs)
        self._idle: list[Worker] = []
        self._busy: dict[Any, Worker] = {}
        self._silent: dict[Any, Worker] = {}
        self._names = itertools.count(1)
        self._look_at_nodes()

    def accepts(self, resources: Resources, avoid: Collection[str] = ()) -> bool:
        """Whether a worker for these resources is idle or can be started now, on none of the nodes to avoid."""
        nodes = self._placement.allowed(resources, avoid)
        idle = self._placement.find(self._idle, resources, nodes)
        return idle is not None or self._placement.has_room(resources, self._busy.values(), nodes)

    def submit(self, group: Group) -> None:
        """Start a group on an idle worker, or on a new one."""
        worker = self._free(group)
        worker.group = group
        worker.has_begun, worker.silent_s = False, 0.0  # loading torch, it may not answer for a while
        # Pickled here: Ray's own pickler handles functions too, and takes three times as long for plain values.
        self._busy[worker.actor.run.remote(pickle.dumps(group.trials))] = worker
        worker.ask()  # at once: one that dies soon has said where it is

    def wait(self, timeout_s: float) -> list[Event]:
        """What has ended; waits up to ``timeout_s`` for the first, and passes reports on meanwhile."""
        self._check()
        self._look_at_nodes()
        self._hearing.go_round(self._busy.values())
        lost = [*self._take_silent(), *self._deaths.unanswered()]
        running = [*self._busy, *self._silent, *self._deaths.questions]
        if lost:
            return lost
        if not running:  # nothing fits on a node that there is, and some may come
            time.sleep(min(timeout_s, PERIOD_S))
            return []
        ready, rest = ray.wait(running, num_returns=1, timeout=min(timeout_s, PERIOD_S))
        if ready and rest:  # what else has ended: with thousands of workers a look at all of them takes its time
            ready += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        return [event for ref in ready if (event := self._collect(ref)) is not None]

    def keep(self, timeout_s: float) -> None:
        """Have every running trial keep its state, if it can within ``timeout_s``."""
        begun = [
            worker for worker in self._busy.values() if worker.has_begun
        ]  # one that still loads has nothing to keep
        asked = [worker.actor.keep.remote(timeout_s) for worker in begun]
        if asked:
            ray.wait(asked, num_returns=len(asked), timeout=timeout_s)

    def close(self) -> None:
        """Kill every worker, whatever it is doing."""
        for worker in [*self._idle, *self._busy.values(), *self._silent.values()]:
            ray.kill(worker.actor)
        self._idle.clear()
        self._busy.clear()
        self._silent.clear()
        self._deaths.forget()

    def _look_at_nodes(self) -> None:
        if self._placement.look():
            # A worker that was started for a node that went meanwhile waits for the place of an idle one.
            while self._idle and not self._placement.hold([*self._busy.values(), *self._idle]):
                ray.kill(self._idle.pop(0).actor)

    def _free(self, group: Group) -> Worker:
        """A worker for a group: an idle one that fits, or a new one, for which idle ones that do not fit make room."""
        nodes = self._placement.allowed(group.resources, group.avoid)
        worker = self._placement.find(self._idle, group.resources, nodes)
        if worker is not None:
            self._idle.remove(worker)
            return worker
        while self._idle and not self._placement.has_room(group.resources, [*self._busy.values(), *self._idle], nodes):
            ray.kill(self._idle.pop(0).actor)
        return self._start(group.resources, avoid=[] if nodes is self._placement.nodes else sorted(group.avoid))

    def _start(self, resources: Resources, avoid: Sequence[str]) -> Worker:
        # Two threads: one trains, the other answers `progress`.
        actor = ray.remote(TrialActor).options(
            **options(resources),
            max_concurrency=2,
            label_selector={NODE_LABEL: f"!in({','.join(avoid)})"} if avoid else None,
        )
        name = f"ray-{next(self._names)}"
        return Worker(name=name, actor=actor.remote(name, *self._making), amounts=asked(resources))

    def _take_silent(self) -> list[Event]:
        """What is lost with workers that no longer answer; those that have not for long are ended."""
        now = time.monotonic()
        for ref in [ref for ref, worker in self._silent.items() if now - worker.lost_at > PATIENCE_S]:
            ray.kill(self._silent.pop(ref).actor)
        lost: list[Event] = []
        for ref in [ref for ref, worker in self._busy.items() if worker.silent_s > SILENCE_S]:
            worker = self._silent[ref] = self._busy.pop(ref)
            assert worker.group is not None
            worker.lost_at = now
            lost.append(Lost(worker.group, f"its worker has been silent for {SILENCE_S:g} s"))
        return lost

    def _collect(self, ref: Any) -> Event | None:
        """What became of a call; None where it was lost already, or where its worker's death is looked into."""
        if ref not in self._busy and ref not in self._silent:
            return self._deaths.answered(ref)
        was_lost = ref in self._silent
        worker = self._silent.pop(ref) if was_lost else self._busy.pop(ref)
        group, worker.group = worker.group, None
        assert group is not None
        try:
            worker.node, results = pickle.loads(ray.get(ref))
        except RayTaskError as error:  # the call itself failed: the worker lives on
            results = [_failed(spec, error) for spec in group.trials]
        except RayError as error:  # dead, out of memory, or out of reach: then it must not train on beside the next
            self._hearing.hear_out(worker)
            ray.kill(worker.actor)
            return None if was_lost else self._deaths.examine(worker, group, error)
        worker.question = None
        if any(ends_worker(result) for result in results):
            ray.kill(worker.actor)
        else:
            self._idle.append(worker)
        return Returned(group, results, worker.node)


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


def _lacking(cell: Cell) -> str:
    """What the machine of a worker that could not read a trial seems to lack."""
    packages = {package for block in (cell.task, cell.model) if (package := package_of(type(block)))}
    return f"; the worker's Python needs {' and '.join(sorted(packages))}, as this one has" if packages else ""
