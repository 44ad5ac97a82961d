"""All nodes together: whether every trial fits on one of them, and the sweep into its time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bilin.orchestrator.clusters.slurm.size import too_large
from bilin.orchestrator.clusters.unmet import ADVICE, unmet
from bilin.orchestrator.doctor.finding import Finding, error, ok, warning
from bilin.orchestrator.doctor.needs import Needs
from bilin.workers.actors.node import Node

SWEEP = "sweep"


def room(place: str, said: Mapping[str, Any]) -> Node:
    """What the node at a place has: all that its Ray says, or the CPUs and GPUs that it says itself."""
    return Node(place, said.get("has") or {"CPU": float(said["cpus"]), "GPU": float(said["gpus"])})


def fits(nodes: Sequence[Node], wanted: Needs) -> Iterator[Finding]:
    """Whether every trial has room on some node, and by the settings of a job on one of its nodes."""
    if wanted.cluster.kind == "inline":
        return
    found = list(too_large(wanted.settings, wanted.demand)) if wanted.is_job else []
    if nodes and not found:
        lacking = (each for each in wanted.demand if all(wanted.room_for(each, node) < 1 for node in nodes))
        found = [unmet(resources, nodes, of="those that were asked") for resources in lacking]
    for text in found:
        yield error(
            SWEEP, "resources", text, f"{ADVICE}; for a job, `cluster` says how large" if wanted.is_job else ADVICE
        )
    if not found and (nodes or (wanted.is_job and wanted.settings.cpus)):
        yield ok(SWEEP, "resources", "every trial has room on some node")


def duration(num_at_once: int, limit_s: float | None, wanted: Needs) -> Iterator[Finding]:
    """Whether the sweep's time is enough, as far as stored trials tell.

    Args:
        num_at_once: How many trials the nodes have room for.
        limit_s: Seconds that a job has; None where nothing limits it.
        wanted: What a launch needs.
    """
    plan = wanted.plan
    if plan is None:
        return
    if not plan.num_missing:
        yield ok(SWEEP, "time", "nothing is missing: there is nothing to run")
        return
    estimate = plan.estimate
    limit = f"; a job has {_minutes(limit_s)}" if limit_s is not None else ""
    if estimate.num_unknown == plan.num_missing:
        yield ok(SWEEP, "time", f"not known: no stored trial has the shape of the {plan.num_missing} to run{limit}")
        return
    needed_s = estimate.seconds / max(min(num_at_once, plan.num_missing), 1)
    more = f", and {estimate.num_unknown} more of unknown shape" if estimate.num_unknown else ""
    found = f"about {_minutes(needed_s)} for {plan.num_missing} trials, {num_at_once} at once{more}{limit}"
    if limit_s is None or needed_s + wanted.settings.warning_s <= limit_s:
        yield ok(SWEEP, "time", found)
    elif wanted.settings.requeue:
        yield warning(SWEEP, "time", found, "it goes on in further jobs by itself; for one, raise cluster.time")
    else:
        yield warning(SWEEP, "time", found, "it goes on in a successor, which waits anew: raise cluster.time for one")


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
