"""Whether the nodes of a Ray can run a sweep: asked of each before the first trial, where there is more than one.

Else a node with another version, or without the store, would fail trial after trial, or give results of its own.
"""

from __future__ import annotations

import platform
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bilin.errors import ClusterError, one_line
from bilin.version import __version__

ANSWER_S = 180.0
"""How long a node may take to start a worker and answer."""


def check_nodes(directory: Path, packages: Collection[str], *, but_own: bool) -> None:
    """Raise where a node of the Ray that this process is connected to cannot run trials of a sweep.

    Args:
        directory: The sweep's folder.
        packages: Names and versions of the packages whose tasks and tiers its trials have.
        but_own: Leave out the node that this process is on.

    Raises:
        ClusterError: Of each such node, why.
    """
    own = _versions([package.partition(" ")[0] for package in packages])
    beacon = directory.absolute() / f"seen-{secrets.token_hex(8)}"
    beacon.write_text(beacon.name)
    try:
        faults = list(_faults(own, beacon, ray.get_runtime_context().get_node_id() if but_own else None))
    finally:
        for path in directory.glob(f"{beacon.name}*"):
            path.unlink(missing_ok=True)
    if faults:
        raise ClusterError("\n  ".join(["not every node of this Ray can run the sweep:", *faults]))


def _faults(own: Mapping[str, str], beacon: Path, but: str | None) -> Iterator[str]:
    alive = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != but]
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in alive}
    probe, names = _probe(), list(own)
    asked = {}
    for node_id in nodes:
        there = NodeAffinitySchedulingStrategy(node_id, soft=False)
        task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(probe)
        asked[task.remote(names, str(beacon), node_id)] = node_id
    if not asked:
        return
    ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
    for answer, node_id in asked.items():
        yield from (f"node {nodes[node_id]}: {fault}" for fault in _of_node(answer, own, beacon, node_id))


def _is_gone(node_id: str) -> bool:
    """Whether Ray has lost a node since: then no trial will run there."""
    return not any(node["Alive"] for node in ray.nodes() if node["NodeID"] == node_id)


def _of_node(answer: Any, own: Mapping[str, str], beacon: Path, node_id: str) -> Iterator[str]:
    try:
        versions, fault = ray.get(answer, timeout=0.1)
    except RayError as error:
        if not _is_gone(node_id):
            yield f"does not answer within {ANSWER_S:g} s ({one_line(error)[:300]})"
        return
    for name, here in own.items():
        there = versions[name]
        if there is None:
            yield f"has no {name}; here: {here}. Install it there too"
        elif there != here:
            yield f"has {name} {there}; here: {here}. Use the same version on all nodes and here"
    if fault:
        yield f"cannot use the store, {beacon.parent}: {fault}. All nodes must see it at this path, and may write there"
    elif not beacon.with_name(f"{beacon.name}-{node_id}").exists():
        yield f"sees another folder at {beacon.parent}: all nodes must see the same store"


def _versions(packages: Collection[str]) -> dict[str, str]:
    """What must be the same on all nodes."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {
        "python": python,
        "ray": ray.__version__,
        "bilin": __version__,
        **{name: version(name) for name in packages},
    }


def _probe() -> Callable[[Collection[str], str, str], tuple[dict[str, str | None], str]]:
    """What a node answers with; a function within one, since Ray takes the code of those along."""

    def probe(names: Collection[str], beacon: str, node_id: str) -> tuple[dict[str, str | None], str]:
        import importlib.metadata
        import platform
        from pathlib import Path

        found: dict[str, str | None] = {"python": ".".join(platform.python_version_tuple()[:2])}
        for name in names:
            if name not in found:
                try:
                    own = __import__("bilin.version").version.__version__ if name == "bilin" else None
                    found[name] = own or importlib.metadata.version(name)
                except ImportError:
                    found[name] = None
        try:
            said = Path(beacon).read_text()
            Path(f"{beacon}-{node_id}").write_text(said)
        except OSError as error:
            return found, f"{error.strerror}: {error.filename}"
        return found, ""

    return probe
