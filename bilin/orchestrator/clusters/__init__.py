"""The clusters: where trials run. Each brings up a pool and takes down what it brought up.

May import `bilin.workers` and the modules of `bilin`; ray in `session` only.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from bilin.errors import InputError
from bilin.spec import Resources
from bilin.workers.inline import InlinePool
from bilin.workers.pool import Pool, Report, RunTrial

CLUSTER_KINDS = ("local", "inline", "ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """Where trials run. No part of any trial's identity.

    Attributes:
        kind: ``local`` starts a Ray of its own on this machine, ``inline`` runs in this process without
            Ray, ``ray`` joins the Ray at ``address``.
        workers: How many trials run at once; None: as many as the CPUs allow.

    Raises:
        InputError: The three do not go together.
    """

    kind: str = "local"
    address: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in CLUSTER_KINDS:
            raise InputError(f"cluster {self.kind!r} is not known: one of {', '.join(CLUSTER_KINDS)} is")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers is {self.workers}: a whole number of at least 1 is accepted")
        if self.kind == "ray" and self.address is None:
            raise InputError("cluster 'ray' joins a Ray that is up: say which with --address HOST:PORT (or auto)")
        if self.kind != "ray" and self.address is not None:
            raise InputError(f"an address joins a Ray that is up, but cluster {self.kind!r} was asked for: drop one")
        if self.kind == "inline" and self.workers not in (None, 1):
            raise InputError(f"cluster 'inline' runs one trial at a time, not {self.workers}: use cluster 'local'")


def open_pool(
    cluster: ClusterSpec, run: RunTrial, *, demand: Iterable[Resources], report: Report
) -> AbstractContextManager[Pool]:
    """Bring a pool up; leaving the context takes down what was brought up.

    Args:
        cluster: Where to run.
        run: How a worker runs one trial.
        demand: What the trials to come will ask for.
        report: Called with what running trials say of themselves.

    Raises:
        ClusterError: The cluster cannot be reached, or could never meet a demand.
    """
    if cluster.kind == "inline":
        return nullcontext(InlinePool(run, report=report))
    from bilin.orchestrator.clusters.session import ray_pool

    return ray_pool(cluster.address, run, num_workers=cluster.workers, demand=list(demand), report=report)
