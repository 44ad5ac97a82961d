"""Whether any node can hold a trial, and what to say if none can. For a Slurm job, before it is submitted."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from bilin.errors import InputError
from bilin.machine.host import ROUNDING, memory_bytes, num_cpus, num_fitting
from bilin.machine.ray_node import OBJECT_STORE_BYTES
from bilin.orchestrator.grid import ClusterSettings
from bilin.spec import Resources, bytes_of
from bilin.units import plural
from bilin.workers.actors.node import ACCELERATOR, Node, amounts_of, describe_amounts
from bilin.workers.environment import num_gpus

ADVICE = "lower `resources`, or use a cluster with larger nodes"

_ALWAYS = ("CPU", "GPU", "memory")


def shortfall(resources: Resources, nodes: Sequence[Node], *, of: str | None) -> str:
    """Return what a trial asks for, and what the largest node has; ``of`` is what the nodes belong to.

    None stands for a single node, which is this machine.
    """
    amounts = amounts_of(resources)
    largest = max(nodes, key=lambda node: _size(node, amounts.keys()), default=Node("", {}))
    rare = [name for name in largest.has if name not in _ALWAYS and (name in amounts or name.startswith(ACCELERATOR))]
    nowhere = [name for name in resources.custom.by_name if not any(node.has.get(name) for node in nodes)]
    lacking = f" ({', '.join(nowhere)}: on no node)" if nowhere else ""
    shown = [name for name in (*_ALWAYS, *rare) if of or name in largest.has or name in amounts]
    has = describe_amounts({name: largest.has.get(name, 0.0) for name in shown})
    asks = f"a trial asks for {describe_amounts(amounts)}"
    if of is None:
        return f"{asks}, but this machine has {has}{lacking}"
    return f"{asks} of one node, but the largest of the {plural(len(nodes), 'node')} of {of} has {has}{lacking}"


def machine_shortfalls(demand: Collection[Resources]) -> Iterator[str]:
    """Yield what asks for more than this machine has. A Ray that bilin starts here would refuse it."""
    has = {"CPU": float(num_cpus())}
    if any(resources.gpus for resources in demand):
        has["GPU"] = float(num_gpus())  # this loads torch
    if any(resources.memory for resources in demand):
        has["memory"] = float(memory_bytes()[1] - OBJECT_STORE_BYTES)
    for resources in demand:
        types = {f"{ACCELERATOR}{resources.accelerator}": has["GPU"]} if resources.accelerator else {}
        if num_fitting(has | types, amounts_of(resources)) < 1:
            yield shortfall(resources, [Node("", has)], of=None)


def job_shortfalls(settings: ClusterSettings, demand: Iterable[Resources]) -> Iterator[str]:
    """Yield what asks for more than a node of a job will have.

    What the settings leave to Slurm is unknown until the job runs, and is checked there.
    """
    for resources in demand:
        gpus = math.inf if settings.extra else float(settings.gpus.rpartition(":")[2])
        has = {"CPU": float(settings.cpus or math.inf), "GPU": gpus, "memory": _memory_bytes(settings.memory)}
        if resources.accelerator:
            has[f"{ACCELERATOR}{resources.accelerator}"] = math.inf
        if any(amount > has.get(name, 0.0) + ROUNDING for name, amount in amounts_of(resources).items()):
            known = {name: amount for name, amount in has.items() if math.isfinite(amount)}
            yield shortfall(resources, [Node("", known)], of="this job, by its `cluster`,")


def check_job_size(settings: ClusterSettings, demand: Iterable[Resources]) -> None:
    """Raise InputError, with a line for each, if trials ask for more than a node of a job will have."""
    if texts := list(job_shortfalls(settings, demand)):
        raise InputError("\n".join(f"{text}: {ADVICE}" for text in texts))


def _size(node: Node, names: AbstractSet[str]) -> tuple[float, ...]:
    """Return how large a node is: first by the rare resources that are asked for, then by those that all nodes have."""
    return tuple(node.has.get(name, 0.0) for name in (*sorted(names - set(_ALWAYS)), "GPU", "CPU", "memory"))


def _memory_bytes(memory: str | None) -> float:
    """Return how much of a node's memory trials may reserve: all but Ray's object store."""
    if memory is None or not memory.strip("0KMGTkmgt"):
        return math.inf
    return bytes_of(memory if memory[-1].isalpha() else f"{memory}M") - OBJECT_STORE_BYTES
