"""Asks the nodes of a Ray: whether they can run a sweep, before its first trial, and what else is to be known.

Else a node with another version, or without the store, would fail trial after trial, or give results of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bilin.errors import ClusterError, one_line
from bilin.orchestrator.clusters.inquiry.answers import (
    ANSWER_S,
    SAFE,
    Answers,
    Questions,
    command,
    last_line,
    other_versions,
    own_versions,
    read,
)
from bilin.orchestrator.clusters.inquiry.beacon import Beacon, beacon
from bilin.workers.actors.node import Node


def check_nodes(directory: Path, packages: Collection[str], *, but_own: bool) -> None:
    """Raise where a node of the Ray that this process is connected to cannot run trials of a sweep.

    Args:
        directory: The sweep's folder.
        packages: Names and versions of the packages whose tasks and tiers its trials have.
        but_own: Leave out the node that this process is on.

    Raises:
        ClusterError: Of each such node, why.
    """
    names = ["bilin", "ray", *(package.partition(" ")[0] for package in packages)]
    own = own_versions(names)
    own_id = ray.get_runtime_context().get_node_id() if but_own else None
    with beacon(directory) as made:

        def questions(place: str) -> Questions:
            return {"versions": {"packages": names}, "store": made.question(place)}

        asked = ask(questions, but=own_id)
        faults = [f"node {node.name}: {fault}" for place, node in asked for fault in _of(place, node, own, made)]
    if faults:
        raise ClusterError("\n  ".join(["not every node of this Ray can run the sweep:", *faults]))


def ask(
    questions: Callable[[str], Questions], *, but: str | None = None, timeout_s: float = ANSWER_S
) -> Iterator[tuple[str, Answers]]:
    """Ask every node of the Ray that this process is connected to, but for those that Ray loses meanwhile.

    Args:
        questions: What to ask the node with an id.
        but: The id of a node that is left out.
        timeout_s: How long a node may take.

    Yields:
        The id of a node, and what it said as soon as it has; its ``room`` is what Ray gives out there.
    """
    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["NodeID"] != but}
    asked = {_start(node_id, questions(node_id), 0.8 * timeout_s): node_id for node_id in nodes}
    until = time.monotonic() + timeout_s
    waiting = list(asked)
    while waiting:
        done, waiting = ray.wait(waiting, timeout=max(until - time.monotonic(), 0.1))
        for answer in done or waiting:
            node_id = asked[answer]
            found = _said(answer, node_id, nodes[node_id]["NodeManagerHostname"], timeout_s)
            if not found.error or found.said or not _is_gone(node_id):
                room = Node.of(nodes[node_id])
                found.said["room"] = {"name": found.name, "cpus": room.cpus, "gpus": room.gpus, "has": dict(room.has)}
                yield node_id, found
        if not done:
            return


def _start(node_id: str, questions: Questions, limit_s: float) -> Any:
    """Ask a node, which says what it has when the limit comes."""
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_run())
    return task.remote(command("", questions, place=node_id)[1:], SAFE, limit_s)


def _said(answer: Any, node_id: str, name: str, timeout_s: float) -> Answers:
    found = Answers(name)
    try:
        lines, said = ray.get(answer, timeout=0.1)
    except RayError as error:
        found.error = f"does not answer within {timeout_s:g} s ({one_line(error)[:300]})"
        return found
    read(lines.splitlines(), {node_id: found})
    found.name, found.error = name, last_line(said)
    return found


def _is_gone(node_id: str) -> bool:
    """Whether Ray has lost a node since: then no trial will run there."""
    return not any(node["Alive"] for node in ray.nodes() if node["NodeID"] == node_id)


def _of(place: str, node: Answers, own: Mapping[str, str], made: Beacon) -> Iterator[str]:
    """What keeps a node from running trials of a sweep."""
    if "versions" not in node.said:
        yield node.error or "does not answer"
        return
    yield from other_versions(own, node.said["versions"]).values()
    if fault := made.fault(place, node.said.get("store")):
        yield fault


def _run() -> Callable[[list[str], Mapping[str, str], float], tuple[str, str]]:
    """What a node does: a function within one, since Ray takes the code of those along."""

    def run(arguments: list[str], settings: Mapping[str, str], limit_s: float) -> tuple[str, str]:
        import os
        import subprocess
        import sys

        environment = {**os.environ, **settings}
        with subprocess.Popen(
            [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as asked:
            try:
                out, err = asked.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                asked.kill()
                out, err = asked.communicate()
        return out, err

    return run
