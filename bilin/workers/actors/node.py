"""How many workers a node of a Ray has room for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bilin.spec import Resources

ROUNDING = 1e-9
"""What sums of fractions of a CPU or GPU may be off by."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its id, and what it has."""

    id: str
    cpus: float
    gpus: float

    @staticmethod
    def of(node: Mapping[str, Any]) -> Node:
        """One of those that `ray.nodes` lists."""
        resources = node["Resources"]
        return Node(node["NodeID"], cpus=resources.get("CPU", 0.0), gpus=resources.get("GPU", 0.0))

    def holds(self, resources: Resources) -> float:
        """How many workers of a size it holds, if of no other."""
        cpus = math.floor(self.cpus / resources.cpus + ROUNDING) if resources.cpus else math.inf
        if not resources.gpus:
            return cpus
        a_gpu = math.floor(1 / resources.gpus + ROUNDING) if resources.gpus < 1 else 1 / resources.gpus
        return min(cpus, math.floor(self.gpus * a_gpu + ROUNDING))
