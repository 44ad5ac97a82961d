"""Checks of the nodes of a Ray: whether they can run a sweep, before its first trial.

Otherwise a node with another version, or without the store, would fail trial after trial, or give other results.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bilin.errors import ClusterError, one_line
from bilin.machine.probe import ANSWER_S, installed_versions
from bilin.orchestrator.clusters.inquiry import Answers, Questions, command, last_error, open_beacon, read

START_S = 60.0  # how long a node may take to start the process that answers


def check_nodes(directory: Path, packages: Collection[str], *, exclude_own: bool) -> None:
    """Raise if a node of the Ray that this process is connected to cannot run trials of a sweep.

    Packages are names with versions. With ``exclude_own``, leave out the node that this process is on.

    Raises:
        ClusterError: A node cannot; the message says why, for each such node.
    """
    own = installed_versions(["bilin", "ray", *(package.partition(" ")[0] for package in packages)])
    own_id = ray.get_runtime_context().get_node_id() if exclude_own else None
    with open_beacon(directory) as beacon:
        checks = {"versions": {"own": own, "may_differ": {}}, "store": {"folder": str(beacon), "thorough": False}}
        texts = [
            f"node {finding.where}: {finding.found}; {finding.advice}"
            for place, node in ask({"checks": checks}, exclude=own_id)
            for finding in node.conclude(place, checks, beacon)
            if finding.level == "error"
        ]
    if texts:
        raise ClusterError("\n  ".join(["not every node of this Ray can run the sweep:", *texts]))


def ask(questions: Questions, *, exclude: str | None = None) -> Iterator[tuple[str, Answers]]:
    """Ask every node of the Ray that this process is connected to, except one. Skip those that Ray loses.

    Yields:
        The id of a node and its answers, as soon as it has given them.
    """
    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["NodeID"] != exclude}
    calls = {
        _start(node_id, command("", questions, place=node_id, has=node["Resources"])[1:]): node_id
        for node_id, node in nodes.items()
    }
    until = time.monotonic() + START_S + ANSWER_S
    waiting = list(calls)
    while waiting:
        done, waiting = ray.wait(waiting, timeout=max(until - time.monotonic(), 0.1))
        for call in done or waiting:
            node_id = calls[call]
            answers = Answers(nodes[node_id]["NodeManagerHostname"])
            try:
                code, out, err = ray.get(call, timeout=0.1)
                read(out.splitlines(), {node_id: answers})
                answers.error = last_error(err, code)
            except RayError as error:
                answers.error = f"no answer within {START_S + ANSWER_S:g} s: {one_line(error)[:300]}"
            # No trial will run on a node that Ray has lost.
            is_alive = any(node["Alive"] for node in ray.nodes() if node["NodeID"] == node_id)
            if answers.findings or is_alive:
                yield node_id, answers
        if not done:
            return


def _start(node_id: str, arguments: list[str]) -> Any:
    """Start the probe on a node; its exit code and what it prints are the result."""

    # A function within one: Ray sends its code along, so that a node without bilin can report that.
    def run(arguments: list[str]) -> tuple[int, str, str]:
        import subprocess
        import sys

        ended = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
        return ended.returncode, ended.stdout, ended.stderr

    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(run).remote(arguments)
