"""Questions to the nodes of a Ray: whether they can run a sweep, before its first trial.

Otherwise a node with another version, or without the store, would fail trial after trial, or give other results.
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
from bilin.orchestrator.clusters.inquiry import (
    ANSWER_S,
    Answers,
    Beacon,
    Questions,
    command,
    last_error,
    open_beacon,
    other_versions,
    own_versions,
    read,
)
from bilin.workers.actors.node import Node


def check_nodes(directory: Path, packages: Collection[str], *, but_own: bool) -> None:
    """Raise if a node of the Ray that this process is connected to cannot run trials of a sweep.

    Args:
        directory: The sweep's folder.
        packages: Names and versions of the packages whose tasks and tiers its trials have.
        but_own: Leave out the node that this process is on.

    Raises:
        ClusterError: A node cannot; the message says why, for each such node.
    """
    names = ["bilin", "ray", *(package.partition(" ")[0] for package in packages)]
    own = own_versions(names)
    own_id = ray.get_runtime_context().get_node_id() if but_own else None
    with open_beacon(directory) as beacon:
        answers = ask(lambda place: {"versions": {"packages": names}, "store": beacon.question(place)}, but=own_id)
        faults = [
            f"node {node.name}: {fault}" for place, node in answers for fault in _faults(place, node, own, beacon)
        ]
    if faults:
        raise ClusterError("\n  ".join(["not every node of this Ray can run the sweep:", *faults]))


def _faults(place: str, node: Answers, own: Mapping[str, str], beacon: Beacon) -> Iterator[str]:
    """Yield what keeps a node from running trials of a sweep."""
    if "versions" not in node.records:
        yield node.error or "did not answer"
        return
    yield from other_versions(own, node.records["versions"]).values()
    if fault := beacon.fault(place, node.records.get("store")):
        yield fault


def ask(
    questions: Callable[[str], Questions], *, but: str | None = None, timeout_s: float = ANSWER_S
) -> Iterator[tuple[str, Answers]]:
    """Ask every node of the Ray that this process is connected to, except those that Ray loses meanwhile.

    Args:
        questions: What to ask the node with an id.
        but: The id of a node that is left out.
        timeout_s: How long a node may take.

    Yields:
        The id of a node and its answers, as soon as it has given them; its ``room`` is what Ray gives out there.
    """
    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["NodeID"] != but}
    calls = {_start(node_id, questions(node_id), 0.8 * timeout_s): node_id for node_id in nodes}
    until = time.monotonic() + timeout_s
    waiting = list(calls)
    while waiting:
        done, waiting = ray.wait(waiting, timeout=max(until - time.monotonic(), 0.1))
        for call in done or waiting:
            node_id = calls[call]
            answers = _answers(call, node_id, nodes[node_id]["NodeManagerHostname"], timeout_s)
            # No trial will run on a node that Ray has lost.
            is_alive = any(node["Alive"] for node in ray.nodes() if node["NodeID"] == node_id)
            if not answers.error or answers.records or is_alive:
                node = Node.of(nodes[node_id])
                answers.records["room"] = {
                    "name": answers.name,
                    "cpus": node.cpus,
                    "gpus": node.gpus,
                    "has": dict(node.has),
                }
                yield node_id, answers
        if not done:
            return


def _start(node_id: str, questions: Questions, limit_s: float) -> Any:
    """Ask a node, which gives the answers that it has when the time is up."""

    # A function within one: Ray sends its code along, so that a node without bilin can report that.
    def run(arguments: list[str], limit_s: float) -> tuple[str, str]:
        import subprocess
        import sys

        with subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                return process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.communicate()

    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    function = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(run)
    return function.remote(command("", questions, place=node_id)[1:], limit_s)


def _answers(call: Any, node_id: str, name: str, timeout_s: float) -> Answers:
    answers = Answers(name)
    try:
        out, err = ray.get(call, timeout=0.1)
    except RayError as error:
        answers.error = f"did not answer within {timeout_s:g} s ({one_line(error)[:300]})"
        return answers
    read(out.splitlines(), {node_id: answers})
    answers.name, answers.error = name, last_error(err)
    return answers
