"""The clusters: where trials run. Each brings up a pool and takes down what it brought up.

May import the grid, `bilin.workers` and the modules of `bilin`; ray in `session`, `nodes` and `jobs` only.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bilin.errors import InputError
from bilin.orchestrator.grid import ClusterSettings
from bilin.spec import Resources
from bilin.workers.events import Emit
from bilin.workers.inline import InlinePool
from bilin.workers.output.files import Outputs
from bilin.workers.pool import Pool, RunTrial
from bilin.workers.training.checkpoint import Checkpoints

CLUSTER_KINDS = ("local", "inline", "ray", "allocation")


ONE_MACHINE = frozenset(("local", "inline"))
"""Kinds whose workers are on the machine that this process is on, and have its Python."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """Where trials run. No part of any trial's identity.

    Attributes:
        kind: ``local`` starts a Ray of its own on this machine, ``inline`` runs in this process without
            Ray, ``ray`` joins the Ray at ``address``, ``allocation`` starts a Ray on the nodes of the Slurm
            job that this process runs in.
        workers: How many trials run at once; None: as many as the CPUs allow.
        checkpoint_s: Seconds after which a running trial keeps its state, so that another worker or launch can go
            on from there; 0: never.

    Raises:
        InputError: One of them cannot be, or they do not go together.
    """

    kind: str = "local"
    address: str | None = None
    workers: int | None = None
    checkpoint_s: float = 300.0

    def __post_init__(self) -> None:
        if self.kind == "slurm":
            raise InputError("cluster 'slurm' runs nothing itself: `bilin.orchestrator.submit` hands a sweep to it")
        if self.kind not in CLUSTER_KINDS:
            raise InputError(f"cluster {self.kind!r} is not known: one of {', '.join(CLUSTER_KINDS)}, slurm is")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers is {self.workers}: a whole number of at least 1 is accepted")
        if not 0 <= self.checkpoint_s < math.inf:
            raise InputError(f"checkpoints every {self.checkpoint_s:g} s: a number of at least 0 is accepted; 0: never")
        if self.kind == "ray" and self.address is None:
            raise InputError("cluster 'ray' joins a Ray that is up: say which with --address HOST:PORT (or auto)")
        if self.kind != "ray" and self.address is not None:
            raise InputError(f"an address joins a Ray that is up, but cluster {self.kind!r} was asked for: drop one")
        if self.kind == "inline" and self.workers not in (None, 1):
            raise InputError(f"cluster 'inline' runs one trial at a time, not {self.workers}: use cluster 'local'")


def open_pool(
    cluster: ClusterSpec,
    run: RunTrial,
    *,
    demand: Iterable[Resources],
    emit: Emit,
    job: ClusterSettings = ClusterSettings(),  # noqa: B008 - frozen
    checkpoints: Checkpoints | None = None,
    outputs: Outputs | None = None,
) -> AbstractContextManager[Pool]:
    """Bring a pool up; leaving the context takes down what was brought up.

    Args:
        cluster: Where to run.
        run: How a worker runs one trial.
        demand: What the trials to come will ask for.
        emit: Takes what happens to the trials.
        job: What the Slurm job of an ``allocation`` asked for.
        checkpoints: Where trials keep their state.
        outputs: Where what they print is kept.

    Raises:
        ClusterError: The cluster cannot be reached, or could never meet a demand.
    """
    if cluster.kind == "inline":
        return nullcontext(InlinePool(run, emit=emit, checkpoints=checkpoints, outputs=outputs))

    def on_ray(address: str | None, emit: Emit = emit) -> AbstractContextManager[Pool]:
        from bilin.orchestrator.clusters.session import ray_pool
        from bilin.workers.actors.pool import RayPool

        make = partial(RayPool, run, emit=emit, checkpoints=checkpoints, outputs=outputs)
        return ray_pool(address, make, num_workers=cluster.workers, demand=list(demand))

    if cluster.kind == "allocation":
        from bilin.orchestrator.clusters.slurm.allocation import on_allocation
        from bilin.orchestrator.clusters.slurm.timed import Starts

        starts = Starts(emit, with_checkpoints=checkpoints is not None)
        return on_allocation(on_ray, starts, job)
    return on_ray(cluster.address)


def check_nodes(cluster: ClusterSpec, directory: Path, packages: Collection[str]) -> None:
    """Raise where a node of a cluster whose pool is open cannot run trials of a sweep; the message says why.

    Args:
        cluster: Where it runs.
        directory: The sweep's folder, which all nodes must see.
        packages: Names and versions of the packages whose tasks and tiers its trials have.

    Raises:
        ClusterError: A node cannot.
    """
    if cluster.kind not in ONE_MACHINE:
        from bilin.orchestrator.clusters import nodes

        # The first node of a job is this one, and what runs there was started with the Python of this process.
        nodes.check_nodes(directory, packages, but_own=cluster.kind == "allocation")
