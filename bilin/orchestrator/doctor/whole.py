"""All nodes together: whether every trial fits on one of them, and the sweep into its time."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from bilin.orchestrator.doctor.finding import Finding, error, ok, warning
from bilin.orchestrator.doctor.wanted import Wanted, room_for

SWEEP = "sweep"


def fits(nodes: Collection[tuple[float, float]], wanted: Wanted) -> Iterator[Finding]:
    """Whether every trial has room on some node.

    Args:
        nodes: CPUs and GPUs of each.
        wanted: What a launch needs.
    """
    if wanted.cluster.kind == "inline":
        return
    unmet = [each for each in wanted.demand if not any(room_for(each, *size) >= 1 for size in nodes)]
    for resources in unmet:
        asked = f"a trial asks for {resources.cpus:g} CPUs and {resources.gpus:g} GPUs of one node"
        there = "; ".join(f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in sorted(set(nodes), reverse=True)[:3])
        advice = "lower the grid's `resources`, or " + ("raise cluster.cpus and cluster.gpus" if wanted.is_job else "")
        yield error(SWEEP, "resources", f"{asked}; there: {there}", advice.removesuffix(", or ") or advice)
    if not unmet:
        yield ok(SWEEP, "resources", "every trial has room on some node")


def duration(num_at_once: int, limit_s: float | None, wanted: Wanted) -> Iterator[Finding]:
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
