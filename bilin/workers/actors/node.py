"""What a worker takes of a node, by Ray's names, and how many workers a node has room for."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bilin.machine.host import ROUNDING, num_fitting
from bilin.spec import Resources
from bilin.units import plural

ACCELERATOR = "accelerator_type:"  # prefix of the resource of an accelerator; a node with such GPUs has 1 of it
_ACCELERATOR_AMOUNT = 0.001  # what Ray takes of that resource for a worker that must have such a GPU


@functools.cache
def amounts_of(resources: Resources) -> Mapping[str, float]:
    """Return how much a worker takes of each of Ray's resources; only those of which it takes something."""
    amounts = {
        "CPU": resources.cpus,
        "GPU": resources.gpus,
        "memory": float(resources.memory_bytes),
        **({f"{ACCELERATOR}{resources.accelerator}": _ACCELERATOR_AMOUNT} if resources.accelerator else {}),
        **resources.custom.by_name,
    }
    return {name: amount for name, amount in amounts.items() if amount}


def actor_options(resources: Resources) -> dict[str, Any]:
    """Return the same as options of an actor."""
    return {
        "num_cpus": resources.cpus,
        "num_gpus": resources.gpus,
        "memory": resources.memory_bytes or None,
        "accelerator_type": resources.accelerator,
        "resources": resources.custom.by_name or None,
    }


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its id, and how much it has of each of Ray's resources."""

    id: str
    has: Mapping[str, float]

    @staticmethod
    def of(node: Mapping[str, Any]) -> Node:
        """Return the node for an entry of `ray.nodes`."""
        return Node(node["NodeID"], node["Resources"])

    @property
    def cpus(self) -> float:
        """How many CPUs it has."""
        return self.has.get("CPU", 0.0)

    def holds(self, resources: Resources) -> float:
        """Return how many workers of one size it holds, if it holds no others."""
        return num_fitting(self.has, amounts_of(resources))


def hold(nodes: Sequence[Node], demand: Iterable[Mapping[str, float]]) -> bool:
    """Return whether nodes together have the sum of some amounts."""
    sums: dict[str, float] = {}
    for amounts in demand:
        for name, amount in amounts.items():
            sums[name] = sums.get(name, 0.0) + amount
    return all(amount <= sum(node.has.get(name, 0.0) for node in nodes) + ROUNDING for name, amount in sums.items())


def describe_amounts(amounts: Mapping[str, float]) -> str:
    """Return amounts by Ray's names as text, such as ``2 CPUs, 1 GPU (H100) and 4 GB of memory``."""
    kinds = ", ".join(name.removeprefix(ACCELERATOR) for name in amounts if name.startswith(ACCELERATOR))
    parts = [
        f"{_describe_amount(name, amount)}{f' ({kinds})' if name == 'GPU' and kinds else ''}"
        for name, amount in amounts.items()
        if not name.startswith(ACCELERATOR)
    ]
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:]))) or "nothing"


def _describe_amount(name: str, amount: float) -> str:
    if name in ("CPU", "GPU"):
        return plural(amount, name)
    if name != "memory":
        return f"{amount:g} of {name}"
    power = max(1, min(4, int(math.log(max(amount, 1.0), 1000))))
    return f"{amount / 1000**power:.4g} {'_KMGT'[power]}B of memory"
