"""Where workers may be: the nodes that there are, and what they have room for."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Sequence

import ray

from bilin.spec import Resources
from bilin.workers.actors.node import Node, asked, hold
from bilin.workers.actors.worker import Worker

PERIOD_S = 5.0
"""How often it is looked which nodes there are: some come after the sweep has begun, and some go."""


class Placement:
    """The nodes of the Ray that this process is connected to, for at most ``num_workers`` workers; None: any number."""

    def __init__(self, num_workers: int | None) -> None:
        self._num_workers = num_workers
        self._looked_at = -math.inf
        self.nodes: list[Node] = []

    def look(self) -> bool:
        """Where it is time, look which nodes there are; whether it was."""
        if time.monotonic() - self._looked_at < PERIOD_S:
            return False
        self._looked_at = time.monotonic()
        self.nodes = _alive()
        return True

    def allowed(self, resources: Resources, avoid: Collection[str]) -> list[Node]:
        """The nodes for a worker of a size: all, where none that is up and not to be avoided could hold it."""
        if not avoid:
            return self.nodes
        up = {node.id for node in _alive()}
        others = [node for node in self.nodes if node.id in up and node.id not in avoid]
        return others if any(node.holds(resources) >= 1 for node in others) else self.nodes

    def find(self, idle: Iterable[Worker], resources: Resources, nodes: Sequence[Node]) -> Worker | None:
        """One of some idle workers that has the size asked for and is on one of some nodes."""
        wanted = asked(resources)
        return next((worker for worker in self._on(nodes, idle, unknown=False) if worker.amounts == wanted), None)

    def has_room(self, resources: Resources, workers: Collection[Worker], nodes: Sequence[Node]) -> bool:
        """Whether some nodes have room for one more worker of a size beside those that there are."""
        wanted, there = asked(resources), [worker.amounts for worker in self._on(nodes, workers, unknown=True)]
        limit = self._num_workers or max(1, int(sum(node.cpus for node in self.nodes)))
        return (
            len(workers) < limit
            # An actor is placed on one node, and a fraction of a GPU on one GPU: sums alone promise too much.
            and there.count(wanted) < sum(node.holds(resources) for node in nodes)
            and hold(nodes, [*there, wanted])
        )

    def hold(self, workers: Iterable[Worker]) -> bool:
        """Whether the nodes still have what all of some workers occupy, in sum."""
        return hold(self.nodes, [worker.amounts for worker in workers])

    def _on(self, nodes: Sequence[Node], workers: Iterable[Worker], *, unknown: bool) -> list[Worker]:
        """Those of some workers that are on some nodes, with or without those of which it is not known."""
        ids = {*(node.id for node in nodes), *([None] if unknown else [])}
        return [worker for worker in workers if nodes is self.nodes or worker.node in ids]


def _alive() -> list[Node]:
    return [Node.of(node) for node in ray.nodes() if node["Alive"]]
