"""What a launch would need of its nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bilin.errors import InputError, StoreError
from bilin.fields import fields_of
from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.clusters.inquiry.answers import own_versions
from bilin.orchestrator.grid import ClusterSettings, Grid, read_profile
from bilin.orchestrator.planning.plan import Plan, make_plan
from bilin.orchestrator.running.launch import packages_of
from bilin.results import stored, sweep_directory
from bilin.spec import Resources
from bilin.workers.actors.node import Node

TOGETHER = ("bilin", "torch", "ray", "numpy")
"""Packages that every trial loads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a launch would need.

    Attributes:
        store: The store, which need not be there.
        settings: What a Slurm job would ask for.
        plan: What would run; None without a grid.
        demand: What single trials ask for; that of a default trial without a grid.
        versions: Python and the packages that a trial loads, as they are here.
        unreadable: Why what is stored cannot be read; empty where it can.
    """

    cluster: ClusterSpec
    store: Path
    settings: ClusterSettings
    plan: Plan | None
    demand: tuple[Resources, ...]
    versions: Mapping[str, str]
    unreadable: str = ""

    @property
    def is_job(self) -> bool:
        """Whether it would run in a Slurm job."""
        return self.cluster.kind == "allocation"

    @property
    def has_own_ray(self) -> bool:
        """Whether it would start a Ray."""
        return self.cluster.kind in ("local", "allocation")

    @property
    def wants_gpus(self) -> bool:
        """Whether a trial computes on a GPU."""
        return any(resources.gpus > 0 or resources.device == "cuda" for resources in self.demand)

    def num_trials(self, node: Node) -> int:
        """How many trials a node has room for at once, at most."""
        if self.cluster.kind == "inline":
            return 1
        room = max(self.room_for(resources, node) for resources in self.demand)
        return int(room if math.isfinite(room) else node.cpus)

    def room_for(self, resources: Resources, node: Node) -> float:
        """How many trials of a size a node holds; one of Slurm's by its CPUs and GPUs, which is all that it says."""
        return node.holds(Resources(cpus=resources.cpus, gpus=resources.gpus) if self.is_job else resources)


def wanted(grid: Grid | None, store: Path, cluster: ClusterSpec, profile: Path | None, nodes: str | None) -> Wanted:
    """What a launch of a grid would need, or of any.

    Raises:
        InputError: One of them cannot be used.
    """
    plan, unreadable = None, ""
    if grid:
        sweep_directory(store, grid.name)
        try:
            plan = make_plan(grid, stored(store, grid.name))
        except StoreError as error:
            plan, unreadable = make_plan(grid, {}), str(error)
    elif store.exists():
        sweep_directory(store, "any")
    packages = [package.partition(" ")[0] for package in packages_of(plan)] if plan else []
    demand = dict.fromkeys(cell.wanted.resources for cell in plan.cells) if plan else (Resources(),)
    return Wanted(
        cluster=cluster,
        store=store.absolute(),
        settings=_settings(grid, profile, nodes),
        plan=plan,
        demand=tuple(demand),
        versions=own_versions([*TOGETHER, *packages]),
        unreadable=unreadable,
    )


def _settings(grid: Grid | None, profile: Path | None, nodes: str | None) -> ClusterSettings:
    said = {**(read_profile(profile) if profile else {}), **(grid.cluster if grid else {})}
    if nodes is not None:
        field = fields_of(ClusterSettings)["nodes"]
        try:
            said["nodes"] = field.convert(nodes)
        except ValueError as error:
            raise InputError(f"nodes {nodes!r}: {error} is accepted") from error
    settings = ClusterSettings(**said)  # type: ignore[arg-type]
    for name, accepted in settings.problems().items():
        raise InputError(f"{name} {getattr(settings, name)!r}: {accepted} is accepted")
    return settings
