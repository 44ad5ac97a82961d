"""What a node has: room for trials, memory, shared memory, a temporary folder, ports, a clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bilin.orchestrator.clusters.slurm.node import OBJECT_STORE_BYTES
from bilin.orchestrator.doctor.finding import Finding, error, ok, size, warning
from bilin.orchestrator.doctor.needs import Needs
from bilin.workers.actors.node import Node

WORKER_BYTES = 300 * 2**20
"""A worker with torch loaded; its model comes on top."""

RAY_BYTES = 400 * 2**20
"""The processes of a Ray itself."""

LITTLE_BYTES = 2**30
"""Disk space below which one should look after it."""

LEAST_BYTES = 100 * 2**20

SKEW_S = 10.0
"""What two clocks may be apart: bilin relies on none, but its rows and logs have their times."""


def room(name: str, node: Node, wanted: Needs) -> Iterator[Finding]:
    """How many trials a node has room for."""
    count = wanted.num_trials(node)
    given = f"{node.cpus:g} CPUs, {node.gpus:g} GPUs"
    if count:
        yield ok(name, "room", f"{given}: {count} at once" if count > 1 else f"{given}: one trial at once")
    else:
        yield warning(name, "room", f"{given}: no trial has room", "it would stay idle")


def memory(name: str, said: Mapping[str, Any], num_trials: int, wanted: Needs) -> Iterator[Finding]:
    """Whether there is memory for Ray and for so many workers."""
    own = RAY_BYTES + OBJECT_STORE_BYTES if wanted.has_own_ray else 0
    need = own + num_trials * WORKER_BYTES
    found = f"{size(said['available'])} free of {size(said['total'])}"
    asked = f"Ray and {num_trials} at once" if own else f"{num_trials} at once"
    asked = f"{asked} hold {size(need)} before their models"
    if said["available"] >= need:
        yield ok(name, "memory", f"{found}; {asked}")
    elif said["available"] < own + WORKER_BYTES:
        yield error(
            name, "memory", f"{found}; one trial holds {size(own + WORKER_BYTES)}", "free some, or ask for more"
        )
    else:
        fit = int((said["available"] - own) // WORKER_BYTES)
        more = "ask for more with cluster.memory" if wanted.is_job else "free some, or launch with fewer --workers"
        yield warning(name, "memory", f"{found}; {asked}", f"there is enough for {fit}: {more}")


def shared_memory(name: str, said: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether Ray's object store has room in shared memory."""
    found = f"{said['path']}: {size(said['free'])} free; Ray's object store takes {size(OBJECT_STORE_BYTES)}"
    if said["free"] > OBJECT_STORE_BYTES:
        yield ok(name, "shared memory", found)
    else:
        yield warning(name, "shared memory", found, "Ray uses a disk instead: give it more (docker: --shm-size=1g)")


def temporary(name: str, said: Mapping[str, Any], wanted: Needs) -> Iterator[Finding]:
    """Whether Ray's sockets, and what else is temporary, have a place."""
    found = f"{said['path']}: {size(said['free'])} free"
    if wanted.has_own_ray and (fault := said.get("error")):
        yield error(
            name, "temp directory", f"{said['path']}: no socket of Ray's there: {fault}", "a shorter path is needed"
        )
    elif said["free"] < LEAST_BYTES:
        yield error(name, "temp directory", found, "make room on its disk: Ray writes its logs there")
    elif said["free"] < LITTLE_BYTES:
        yield warning(name, "temp directory", found, "make room on its disk: Ray writes its logs there")
    else:
        yield ok(name, "temp directory", found)


def ports(name: str, said: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether the ports that Ray takes can be had."""
    where = said["host"] or "all interfaces"
    if said["error"]:
        yield error(name, "ports", f"{said['error']}, on {where}", "see what takes them: ss -lntp")
    else:
        yield ok(name, "ports", f"{said['num_bound']} bound at once on {where}")


def reach(name: str, said: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether a node can connect to the others of its job."""
    num_others = said["num_nodes"] - 1
    if failed := said["failed"]:
        found = f"no connection to {', '.join(failed[:3])}{', …' * (len(failed) > 3)}"
        advice = "see to the firewall between the nodes: Ray needs every port above 1024 from each to each"
        yield error(name, "other nodes", found, advice)
    elif said["met"] <= num_others:
        heard = f"{said['met'] - 1} of {num_others} reached; nothing is heard of the rest in the store"
        yield warning(name, "other nodes", heard, "see what their own lines say, and that of the store")
    elif num_others:
        yield ok(name, "other nodes", f"{num_others} reached, at a port that was free there")


def clock(name: str, ahead_s: float) -> Iterator[Finding]:
    """Whether a clock is that of here."""
    if abs(ahead_s) <= SKEW_S:
        yield ok(name, "clock", f"within {SKEW_S:g} s of that here")
    else:
        way = "ahead of" if ahead_s > 0 else "behind"
        found = f"{abs(ahead_s):.0f} s {way} that here"
        yield warning(name, "clock", found, "set it (NTP): the times in rows and logs are wrong, Slurm may refuse it")
