"""The options of a launch, as the command line of the process that runs it for another has them."""

from __future__ import annotations

from collections.abc import Collection

from bilin.orchestrator.clusters import ClusterSpec


def options(cluster: ClusterSpec, only: Collection[str], retry: Collection[str]) -> list[str]:
    """What `bilin sweep launch` is told beside the grid, the store and the cluster; what is as by default is not."""
    words = [word for condition in only for word in ("--only", condition)]
    if retry:
        words += ["--retry", ",".join(retry)]
    if cluster.workers is not None:
        words += ["--workers", str(cluster.workers)]
    if cluster.checkpoint_s != ClusterSpec().checkpoint_s:
        words += ["--checkpoint-every", f"{cluster.checkpoint_s:g}"]
    return words
