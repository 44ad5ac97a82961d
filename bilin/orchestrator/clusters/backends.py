"""The kinds of clusters, and how each starts workers.

ray is imported inside functions: cluster ``inline`` needs none, and in a job Ray must not read its settings too
early.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from bilin.errors import ClusterError, InputError
from bilin.machine.host import host_and_port
from bilin.orchestrator.clusters.capacity import ADVICE, machine_shortfalls
from bilin.orchestrator.grid import ClusterSettings
from bilin.spec import Resources
from bilin.workers.environment import num_gpus
from bilin.workers.events import Emit
from bilin.workers.inline import InlinePool
from bilin.workers.output import Outputs
from bilin.workers.pool import Pool, RunTrial
from bilin.workers.training.checkpoint import Checkpoints

KINDS = ("local", "inline", "ray", "allocation")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """Where trials run. Not part of the identity of a trial.

    Attributes:
        kind: ``local`` starts a Ray on this machine, ``inline`` runs in this process without Ray, ``ray`` joins the
            Ray at ``address``, ``allocation`` starts a Ray on the nodes of the Slurm job that this process runs in.
        address: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``.
        workers: How many trials run at once; None: as many as the CPUs allow.
        checkpoint_s: Seconds between two checkpoints of a running trial, from which another worker or launch can
            continue it; 0: never.

    Raises:
        InputError: A value cannot be used, or two do not go together.
    """

    kind: str = "local"
    address: str | None = None
    workers: int | None = None
    checkpoint_s: float = 300.0

    def __post_init__(self) -> None:
        if self.kind == "slurm":
            raise InputError("cluster 'slurm' runs nothing itself: `bilin.orchestrator.submit` submits a sweep to it")
        if self.kind not in KINDS:
            raise InputError(f"unknown cluster {self.kind!r}; accepted: {', '.join(KINDS)}, slurm")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers: found {self.workers}; accepted: a whole number of at least 1")
        if not 0 <= self.checkpoint_s < math.inf:
            raise InputError(f"checkpoint period: found {self.checkpoint_s:g} s; accepted: at least 0; 0: never")
        if self.kind == "ray" and self.address is None:
            raise InputError("cluster 'ray' joins a running Ray: give its --address HOST:PORT (or auto)")
        if self.address not in (None, "auto"):
            host_and_port(self.address)
        if self.kind != "ray" and self.address is not None:
            raise InputError(f"an address joins a running Ray, but cluster {self.kind!r} was asked for: drop one")
        if self.is_inline and self.workers not in (None, 1):
            raise InputError(f"cluster 'inline' runs one trial at a time, not {self.workers}: use cluster 'local'")

    @property
    def is_inline(self) -> bool:
        """Whether trials run in this process, without Ray."""
        return self.kind == "inline"

    @property
    def in_job(self) -> bool:
        """Whether trials run on the nodes of a Slurm job."""
        return self.kind == "allocation"

    @property
    def starts_ray(self) -> bool:
        """Whether a launch starts a Ray, on this machine or on the nodes of a job."""
        return self.kind in ("local", "allocation")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """What a pool runs, where it reports, and what it keeps.

    Attributes:
        run: See `bilin.workers.runner.TrialRunner`.
        emit: Takes the events of the trials.
        demand: The resources that the trials request.
        job: The settings of the Slurm job of an ``allocation``.
        checkpoints: Where trials keep their state; None: nowhere.
        outputs: Where their output is kept; None: nowhere.
    """

    run: RunTrial | None
    emit: Emit
    demand: Collection[Resources] = ()
    job: ClusterSettings = field(default_factory=ClusterSettings)
    checkpoints: Checkpoints | None = None
    outputs: Outputs | None = None


def open_pool(cluster: ClusterSpec, spec: PoolSpec) -> AbstractContextManager[Pool]:
    """Return a context that starts a pool, and ends all that it started.

    Raises:
        ClusterError: The cluster cannot be reached, or no node can hold a trial.
    """
    if cluster.is_inline:
        _check_gpus(spec.demand)
        return nullcontext(InlinePool(spec.run, emit=spec.emit, checkpoints=spec.checkpoints, outputs=spec.outputs))
    if cluster.in_job:
        return _pool_in_job(cluster.workers, spec)
    from bilin.orchestrator.clusters.session import ray_pool

    return ray_pool(cluster.address, spec, num_workers=cluster.workers)


def _check_gpus(demand: Collection[Resources]) -> None:
    """Raise if a trial asks for more GPUs than this process has; it has all CPUs and memory that there are."""
    largest = max(demand, key=lambda resources: resources.gpus, default=Resources())
    if largest.gpus and num_gpus() < largest.gpus:
        raise ClusterError(f"{next(machine_shortfalls([largest]))}: {ADVICE}")


@contextmanager
def _pool_in_job(num_workers: int | None, spec: PoolSpec) -> Iterator[Pool]:
    """Open a pool that starts no trial for which the job has too little time left."""
    from bilin.orchestrator.clusters.slurm.allocation import ray_in_job, time_left_s
    from bilin.orchestrator.clusters.slurm.deadline import Deadline, DeadlinePool, StartupTimes

    times = StartupTimes(spec.emit, with_checkpoints=spec.checkpoints is not None)
    with ray_in_job(spec.job) as address:
        from bilin.orchestrator.clusters.session import ray_pool

        with ray_pool(address, replace(spec, emit=times.take), num_workers=num_workers) as pool:
            yield DeadlinePool(pool, Deadline(time_left_s, spec.job.warning_s), times)


def check_nodes(cluster: ClusterSpec, directory: Path, packages: Collection[str]) -> None:
    """Raise if a node of an open pool does not see the folder of a sweep, or has other versions of its packages.

    Raises:
        ClusterError: A node cannot; the message says why, for each such node.
    """
    if cluster.address or cluster.in_job:  # the one node of the others has the Python of this process
        from bilin.orchestrator.clusters import nodes

        # The first node of a job is this one.
        nodes.check_nodes(directory, packages, exclude_own=cluster.in_job)
