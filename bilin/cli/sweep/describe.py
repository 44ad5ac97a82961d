"""Texts about plans, and about how launches begin and end, here or in other processes."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bilin.failures import RULES
from bilin.orchestrator import Plan, Submission, Summary
from bilin.orchestrator.background import Cancelled, Detached, RayJob
from bilin.record import RESULT_STATUSES
from bilin.workers.actors.node import amounts_of, describe_amounts

MAX_VALUES = 12


def describe_plan(plan: Plan) -> str:
    """Say in lines what a launch would run."""
    counts, rows = plan.grid.counts, []
    for number, axes in enumerate(counts.axes):
        label = "axes" if len(counts.axes) == 1 else f"axes {number + 1}"
        for index, axis in enumerate(axes):
            shown = ", ".join(str(value) for value in axis.values[:MAX_VALUES])
            rest = "" if len(axis.values) <= MAX_VALUES else f", … ({len(axis.values)} values)"
            rows.append(("" if index else label, f"{axis.name}: {shown}{rest}"))
    part = "" if plan.grid.is_whole else f", {len(plan.cells)} of them selected by --only"
    combinations = f"{counts.combinations} combinations, {counts.after_exclusion} after exclusion"
    rows.append(("cells", f"{combinations}, {counts.after_deduplication} different{part}"))
    limit = " at most: a search may need fewer" if plan.may_end_early else ""
    rows.append(("trials", f"{plan.num_wanted} wanted{limit}"))
    at_most = "at most " if plan.may_end_early else ""
    later = f", {at_most}{plan.num_later} in later rounds" if plan.num_later else ""
    now = plan.num_missing - plan.num_later
    rows.append(("", f"{plan.num_done} done, {plan.num_failed} failed, {now} to run now{later}"))
    sizes = dict.fromkeys(cell.wanted.resources.occupied for cell in plan.cells)
    for index, size in enumerate(list(sizes)[:MAX_VALUES]):
        rows.append(("" if index else "a trial takes", describe_amounts(amounts_of(size))))
    rows.append(("time", describe_time(plan)))
    return "\n".join([plan.grid.name, *columns(rows)])


def describe_summary(summary: Summary) -> str:
    """Say in lines how a launch ended."""
    ran = sum(summary.ran.values())
    by_status = f" ({counted(summary.ran)})" if ran else ""
    parts = [f"{summary.num_found} trials found in the store", f"{ran} run{by_status}"]
    if summary.num_failed:
        parts.append(f"{summary.num_failed} without a result")
    lines = [f"{summary.sweep}: " + ", ".join(parts)]
    if summary.stopped:
        lines.append(f"stopped early: {summary.stopped}")
    if summary.num_failed:
        where = ["--where", "error is not null", "--select", "trial_id,status,error"]
        places = ["--sweep", summary.sweep, "--store", str(summary.directory.parent)]
        failed = sorted(status for status, count in summary.ran.items() if count and status not in RESULT_STATUSES)
        lines.append(f"errors: {shlex.join(['bilin', 'results', 'query', '--view', 'trials', *where, *places])}")
        lines += [f"{status}: {RULES[status].what}; {RULES[status].then}" for status in failed]
        lines.append(f"`bilin sweep why {summary.sweep} TRIAL` explains one; --retry runs classes of them again")
    return "\n".join(lines)


def describe_submission(submission: Submission, *, store: Path) -> str:
    """Say in lines what was submitted to Slurm, and how to watch it."""
    nodes = "1 node" if submission.nodes == "1" else f"{submission.nodes} nodes"
    place = [submission.sweep, "--store", str(store)]
    rows = [(what, shlex.join(["bilin", "sweep", what, *place])) for what in ("watch", "cancel")]
    rows.append(("log", str(submission.log)))
    head = f"{submission.sweep}: job {submission.job_id} submitted, {submission.num_missing} trials to run on {nodes}"
    return "\n".join([head, *columns(rows)])


def describe_detached(detached: Detached | RayJob) -> str:
    """Return lines that say where a sweep runs, how to watch it and how to end it."""
    where = f"process {detached.pid}" if isinstance(detached, Detached) else f"Ray job {detached.job_id}"
    lines = [f"{detached.sweep}: runs in the background, {where}"]
    lines += [f"  {what:6}  {command(what, detached.sweep, detached.directory)}" for what in ("watch", "cancel")]
    return "\n".join([*lines, f"  log     {detached.log}"])


def describe_cancelled(cancelled: Cancelled, *, grace_s: float) -> str:
    """Return lines that say how a sweep was ended."""
    killed = f"did not end within {grace_s:g} s and was killed"
    texts = {"cancelled": "is cancelled", "ended": "has ended", "killed": killed}
    ends = [f"job {job_id} {texts[how]}" for job_id, how in cancelled.jobs.items()]
    if cancelled.holder:
        ends.append(f"process {cancelled.holder.pid} {killed if cancelled.was_killed else 'has ended'}")
    if not ends:
        return f"{cancelled.sweep}: it is not running; nothing changed"
    return f"{cancelled.sweep}: {', '.join(ends)}; the same launch continues from here"


def command(what: str, sweep: str, directory: Path) -> str:
    """Return a command about a sweep that works in every folder of this machine."""
    return shlex.join(["bilin", "sweep", what, sweep, "--store", str(directory.parent.absolute())])


def describe_time(plan: Plan) -> str:
    """Say how long the missing trials of a plan will take."""
    estimate = plan.estimate
    if not plan.num_missing:
        return "nothing to run"
    if estimate.num_unknown == plan.num_missing:
        return "not known: no stored trial has the same task, model and training"
    left_out = f", without {estimate.num_unknown} to which no stored trial is similar" if estimate.num_unknown else ""
    return f"about {duration(estimate.seconds)} on one worker, from {estimate.num_stored} stored trials{left_out}"


def duration(seconds: float) -> str:
    """Return seconds in a unit that fits, such as ``3 min`` or ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.1f} days"


def counted(statuses: Mapping[Any, int]) -> str:
    """Return counts by status, such as ``3 done, 1 lost``."""
    return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()) if count)


def columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return rows of two texts as lines, with the second texts below each other."""
    width = max(len(first) for first, _ in rows)
    return [f"  {first.ljust(width)}  {second}".rstrip() for first, second in rows]
