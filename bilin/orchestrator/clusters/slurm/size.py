"""Whether a node of a job can hold a trial: said when the sweep is submitted, not when the job has waited its turn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from bilin.errors import InputError
from bilin.orchestrator.clusters.slurm.node import OBJECT_STORE_BYTES
from bilin.orchestrator.clusters.unmet import ADVICE, lacks, unmet
from bilin.orchestrator.grid import ClusterSettings
from bilin.spec import Resources, bytes_of
from bilin.workers.actors.node import ACCELERATOR, Node


def check_size(settings: ClusterSettings, demand: Iterable[Resources]) -> None:
    """Raise where a trial asks for more than a node of a job will have. Raises InputError."""
    for found in too_large(settings, demand):
        raise InputError(f"{found}: {ADVICE}")


def too_large(settings: ClusterSettings, demand: Iterable[Resources]) -> Iterator[str]:
    """What asks for more than a node of a job will have.

    What the settings leave to Slurm is not known before the job runs; there it is looked at again.
    """
    for resources in demand:
        node = _node(settings, resources)
        if lacks(resources, node):
            known = Node(node.id, {name: amount for name, amount in node.has.items() if math.isfinite(amount)})
            yield unmet(resources, [known], of="this job, by its `cluster`,")


def _node(settings: ClusterSettings, resources: Resources) -> Node:
    gpus = math.inf if settings.extra else float(settings.gpus.rpartition(":")[2])
    has = {"CPU": float(settings.cpus or math.inf), "GPU": gpus, "memory": _memory_bytes(settings.memory)}
    if resources.accelerator:
        has[f"{ACCELERATOR}{resources.accelerator}"] = math.inf
    return Node("", has)


def _memory_bytes(memory: str | None) -> float:
    """What of a node's memory trials may set aside: all but what Ray's object store has."""
    if memory is None or not memory.strip("0KMGTkmgt"):
        return math.inf
    return bytes_of(memory if memory[-1].isalpha() else f"{memory}M") - OBJECT_STORE_BYTES
