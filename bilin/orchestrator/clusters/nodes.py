"""Questions to the nodes of a Ray: whether they can run a sweep, before its first trial.

Otherwise a node with another version, or without the store, would fail trial after trial, or give other results.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bilin.errors import ClusterError, one_line
from bilin.orchestrator.clusters.inquiry import (
    ANSWER_S,
    Answers,
    Questions,
    command,
    last_error,
    open_beacon,
    own_versions,
    read,
)


def check_nodes(directory: Path, packages: Collection[str], *, but_own: bool) -> None:
    """Raise if a node of the Ray that this process is connected to cannot run trials of a sweep.

    Packages are names with versions. With ``but_own``, leave out the node that this process is on.

    Raises:
        ClusterError: A node cannot; the message says why, for each such node.
    """
    own = own_versions(["bilin", "ray", *(package.partition(" ")[0] for package in packages)])
    own_id = ray.get_runtime_context().get_node_id() if but_own else None
    texts = []
    with open_beacon(directory) as beacon:
        store = beacon.question(thorough=False)
        for place, node in ask({"questions": {"versions": {"own": own, "may_differ": {}}, "store": store}}, but=own_id):
            beacon.check(place, node)
            texts += [f"node {node.name}: {fault}" for fault in faults(node, directory)]
    if texts:
        raise ClusterError("\n  ".join(["not every node of this Ray can run the sweep:", *texts]))


def faults(node: Answers, store: Path) -> Iterator[str]:
    """Yield what keeps a node from running trials of a sweep in a store."""
    if "versions" not in node.verdicts:
        yield node.error or "did not answer"
        return
    for level, found, advice in chain(node.verdicts["versions"], node.verdicts.get("store", ())):
        if level == "error":
            yield f"{found}. {advice}"
    if "store" not in node.verdicts:
        yield f"did not answer what it sees of the store, {store.absolute()}. Does its disk hang?"


def ask(questions: Questions, *, but: str | None = None, timeout_s: float = ANSWER_S) -> Iterator[tuple[str, Answers]]:
    """Ask every node of the Ray that this process is connected to, except one, and those that Ray loses meanwhile.

    Yields:
        The id of a node and its answers, as soon as it has given them.
    """
    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["NodeID"] != but}
    calls = {
        _start(node_id, command("", questions, place=node_id, has=node["Resources"])[1:], 0.8 * timeout_s): node_id
        for node_id, node in nodes.items()
    }
    until = time.monotonic() + timeout_s
    waiting = list(calls)
    while waiting:
        done, waiting = ray.wait(waiting, timeout=max(until - time.monotonic(), 0.1))
        for call in done or waiting:
            node_id = calls[call]
            answers = Answers(nodes[node_id]["NodeManagerHostname"])
            try:
                out, err = ray.get(call, timeout=0.1)
                read(out.splitlines(), {node_id: answers})
                answers.name, answers.error = nodes[node_id]["NodeManagerHostname"], last_error(err)
            except RayError as error:
                answers.error = f"did not answer within {timeout_s:g} s ({one_line(error)[:300]})"
            # No trial will run on a node that Ray has lost.
            is_alive = any(node["Alive"] for node in ray.nodes() if node["NodeID"] == node_id)
            if not answers.error or answers.verdicts or is_alive:
                yield node_id, answers
        if not done:
            return


def _start(node_id: str, arguments: list[str], limit_s: float) -> Any:
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
    return function.remote(arguments, limit_s)
