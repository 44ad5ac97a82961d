"""What a launch needs of its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bilin.errors import StoreError
from bilin.folder import SweepFolder
from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.clusters.inquiry import own_versions
from bilin.orchestrator.grid import ClusterSettings
from bilin.orchestrator.planning.plan import Plan, make_plan
from bilin.orchestrator.request import LaunchRequest
from bilin.spec import Resources
from bilin.workers.actors.node import amounts_of

ALWAYS_LOADED = ("bilin", "torch", "ray", "numpy")  # packages that every trial loads


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a launch needs.

    Attributes:
        store: The store; it need not exist.
        settings: What a Slurm job would ask for.
        plan: What would run; None without a grid.
        demand: What single trials ask for; without a grid, what a default trial does.
        versions: Python and the packages that a trial loads, as they are here.
        unreadable: Why the stored results cannot be read; empty if they can.
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
    def starts_ray(self) -> bool:
        """Whether it would start a Ray."""
        return self.cluster.kind in ("local", "allocation")

    @property
    def wants_gpus(self) -> bool:
        """Whether a trial computes on a GPU."""
        return any(resources.gpus > 0 or resources.device == "cuda" for resources in self.demand)

    def amounts(self, resources: Resources) -> Mapping[str, float]:
        """Return what a trial takes of a node; a node of Slurm reports only its CPUs and GPUs."""
        return amounts_of(Resources(cpus=resources.cpus, gpus=resources.gpus) if self.is_job else resources)


def needs_of(request: LaunchRequest) -> Needs:
    """Return what a launch needs; for a request without a grid, what any launch needs.

    Raises:
        StoreError: The store is a file.
    """
    plan, unreadable = None, ""
    if request.grid.cells:
        try:
            plan = request.plan()
        except StoreError as error:
            _ = request.folder
            plan, unreadable = make_plan(request.grid, {}), str(error)
    elif request.store.exists():
        SweepFolder.of(request.store, "any")
    packages = [package.partition(" ")[0] for package in plan.packages] if plan else []
    return Needs(
        cluster=request.cluster,
        store=request.store.absolute(),
        settings=request.job,
        plan=plan,
        demand=tuple(dict.fromkeys(cell.resources for cell in request.grid.cells) or (Resources(),)),
        versions=own_versions([*ALWAYS_LOADED, *packages]),
        unreadable=unreadable,
    )
