"""The whole examination: Slurm, the store from here, every node, and all of it together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from bilin.errors import ClusterError
from bilin.orchestrator.clusters.environment import TEMP_ROOT
from bilin.orchestrator.clusters.inquiry.answers import Answers, Questions, ask_here
from bilin.orchestrator.clusters.inquiry.beacon import Beacon
from bilin.orchestrator.clusters.slurm import step
from bilin.orchestrator.doctor import machine, software, storage, whole
from bilin.orchestrator.doctor.finding import Finding, error, ok, warning
from bilin.orchestrator.doctor.needs import Needs, needs_of
from bilin.orchestrator.doctor.slurm import SLURM, is_here, slurm, time_limit
from bilin.orchestrator.grid.blocks.cluster import megabytes
from bilin.orchestrator.request import LaunchRequest

NUM_PORTS = 16
"""About as many as the processes of a Ray listen on, before its workers."""


def examine(request: LaunchRequest, *, wait_s: float = 60.0) -> list[Finding]:
    """Look at what a launch would need, on every node where it would run. Changes nothing.

    Args:
        request: The launch; one without a grid asks for what any launch needs. Of ``allocation`` outside of a Slurm
            job, the nodes that a job would get are examined.
        wait_s: How long to wait for Slurm to give nodes, in seconds.

    Raises:
        StoreError: The store is a file.
    """
    needs = needs_of(request)
    findings: list[Finding] = list(slurm(needs.settings)) if needs.is_job else []
    with ExitStack() as stack:
        made = storage.open_beacon(needs, stack, findings)
        asked = _ask(needs, made, wait_s, findings)
        for place, answers in asked.items():
            findings += _node(place, answers, made, needs)
    rooms = [whole.room(place, room) for place, each in asked.items() if (room := each.said.get("room"))]
    findings += whole.fits(rooms, needs)
    limit_s = time_limit(needs.settings) if needs.is_job and is_here() else None
    findings += whole.duration(sum(needs.num_trials(room) for room in rooms) or 1, limit_s, needs)
    return findings


def _ask(needs: Needs, made: Beacon | None, wait_s: float, findings: list[Finding]) -> dict[str, Answers]:
    """What every node says, by its place; what keeps them from it is a finding."""
    if needs.is_job:
        return _ask_job(needs, made, wait_s, findings) if is_here() else {}
    if needs.cluster.kind == "inline":
        return {"0": ask_here(questions(needs, made, "0"), place="0")}
    from bilin.orchestrator.clusters import nodes, session

    try:
        with session.connected(needs.cluster.address):
            asked = dict(nodes.ask(lambda place: questions(needs, made, place)))
        found = f"reached at {needs.cluster.address}" if needs.cluster.address else "one of its own came up, and went"
        findings.append(ok("Ray", "cluster", f"{found}: {_counted(len(asked))}"))
    except ClusterError as fault:
        findings.append(error("Ray", "cluster", str(fault), "see what it says; a launch would say the same"))
        return {} if needs.cluster.address else {"0": ask_here(questions(needs, made, "0"), place="0")}
    return asked


def _ask_job(needs: Needs, made: Beacon | None, wait_s: float, findings: list[Finding]) -> dict[str, Answers]:
    if any(finding.level == "error" and finding.where == SLURM for finding in findings):
        return {}  # it would refuse the step as well
    asked = step.ask(needs.settings, questions(needs, made, ""), wait_s=wait_s)
    num_nodes = max(
        (each.said["room"]["num_nodes"] for each in asked.answers.values() if "room" in each.said), default=0
    )
    if asked.is_waiting:
        found = f"no place for {needs.settings.nodes} nodes within {wait_s:g} s: they were not looked at"
        findings.append(warning(SLURM, "nodes", found, "give it longer with --wait SECONDS, or ask again later"))
    elif asked.said or len(asked.answers) < num_nodes:
        found = (
            f"{len(asked.answers)} of {num_nodes or needs.settings.nodes} nodes answer: {' '.join(asked.said.split())}"
        )
        findings.append(error(SLURM, "nodes", found, "see that cluster.python and cluster.setup work on the nodes"))
    else:
        findings.append(ok(SLURM, "nodes", f"{_counted(len(asked.answers))} asked"))
    return dict(sorted(asked.answers.items()))


def questions(needs: Needs, made: Beacon | None, place: str) -> Questions:
    """What is asked of the node at a place; of every node of a Slurm step without one."""
    own = needs.has_own_ray
    asked: dict[str, Mapping[str, Any]] = {
        "room": {},
        "versions": {"packages": [name for name in needs.versions if name != "python"]},
        "temporary": {"root": TEMP_ROOT if own else None},
    }
    if sys.platform == "linux":
        asked["memory"] = {"asked": megabytes(needs.settings.memory or "0") if needs.is_job else 0}
    if own and sys.platform == "linux":
        asked["shared_memory"] = {"path": "/dev/shm"}
    if own:
        asked["ports"] = {"host": "" if needs.is_job else "127.0.0.1", "wanted": [0] * NUM_PORTS}
    if made and needs.is_job and needs.settings.max_nodes > 1:
        asked["reach"] = {"folder": str(made.folder)}
    asked["torch"] = {"everything": needs.cluster.kind in ("local", "ray")}  # their tasks are given none
    if made:
        asked["store"] = made.question(place)
    asked["clock"] = {}
    return asked


def _node(place: str, answers: Answers, made: Beacon | None, needs: Needs) -> Iterator[Finding]:
    """What is to be said of one node."""
    name, said = answers.name, answers.said
    given = whole.room(place, said.get("room", {"cpus": 0, "gpus": 0}))
    judged: Mapping[str, Callable[[Any], Iterator[Finding]]] = {
        "room": lambda _: machine.room(name, given, needs),
        "versions": lambda of: software.versions(name, of, needs),
        "memory": lambda of: machine.memory(name, of, needs.num_trials(given), needs),
        "temporary": lambda of: machine.temporary(name, of, needs),
        "shared_memory": lambda of: machine.shared_memory(name, of),
        "ports": lambda of: machine.ports(name, of),
        "reach": lambda of: machine.reach(name, of),
        "torch": lambda of: software.torch(name, of, given.gpus, needs),
        "store": lambda of: storage.store(name, place, of, made) if made else iter(()),
        "clock": lambda _: machine.clock(name, answers.ahead_s),
    }
    asked = questions(needs, made, place)
    silent = [question.replace("_", " ") for question in asked if question not in said]
    if silent:
        why = f" ({answers.error})" if answers.error else ""
        advice = "see that node: what does not answer hangs, or never began"
        yield error(name, "answers", f"none about {', '.join(silent)}{why}", advice)
    for question in (question for question in asked if question in said):
        if set(said[question]) == {"error"} and question != "store":
            yield error(name, question.replace("_", " "), said[question]["error"], "see to it on that node")
        else:
            yield from judged[question](said[question])


def _counted(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
