"""Plans, summaries, statuses and trials in words."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bilin.errors import InputError
from bilin.failures import RULES
from bilin.orchestrator import Activity, Job, JobStatus, Plan, Submission, Summary, SweepStatus
from bilin.orchestrator.grid import Axis, Choices
from bilin.record import RESULT_STATUSES, Status
from bilin.results import LAPSE_S, Holder
from bilin.workers.actors.node import amounts_of, describe_amounts

MAX_VALUES = 12

_TIME = "%Y-%m-%d %H:%M:%S"


def describe_plan(plan: Plan) -> str:
    """What a launch would run, in lines."""
    counts = plan.grid.counts
    narrowed = "" if len(plan.cells) == counts.after_deduplication else f", {len(plan.cells)} of them asked for"
    rows = [
        *_axes(counts.axes),
        (
            "cells",
            f"{counts.combinations} combinations, {counts.after_exclusion} after exclusion, "
            f"{counts.after_deduplication} different{narrowed}",
        ),
        ("trials", f"{plan.num_wanted} wanted{_search(plan)}"),
        ("", f"{plan.num_done} done, {plan.num_failed} failed, {plan.num_missing} to run now"),
        *_resources(plan),
        ("time", _time(plan)),
    ]
    return "\n".join([plan.grid.name, *columns(rows)])


def describe_summary(summary: Summary) -> str:
    """How a launch ended, in lines."""
    ran = sum(summary.ran.values())
    by_status = f" ({_counted(summary.ran)})" if ran else ""
    parts = [f"{summary.num_found} trials found in the store", f"{ran} run{by_status}"]
    if summary.num_failed:
        parts.append(f"{summary.num_failed} without a result")
    lines = [f"{summary.sweep}: " + ", ".join(parts)]
    if summary.stopped:
        lines.append(f"stopped early: {summary.stopped}")
    if summary.num_failed:
        where = ["--where", "error is not null", "--select", "trial_id,status,error"]
        places = ["--sweep", summary.sweep, "--store", str(summary.directory.parent)]
        lines.append(f"errors: {shlex.join(['bilin', 'results', 'query', '--view', 'trials', *where, *places])}")
        lines += [f"{status}: {RULES[status].what}; {RULES[status].then}" for status in _failed(summary)]
        lines.append(f"`bilin sweep why {summary.sweep} TRIAL` says of one; --retry runs classes of them again")
    return "\n".join(lines)


def describe_submission(submission: Submission, *, store: Path) -> str:
    """What was handed to Slurm, and how to watch it, in lines."""
    nodes = "1 node" if submission.nodes == "1" else f"{submission.nodes} nodes"
    place = [submission.sweep, "--store", str(store)]
    rows = [(what, shlex.join(["bilin", "sweep", what, *place])) for what in ("watch", "cancel")]
    rows.append(("log", str(submission.log)))
    head = f"{submission.sweep}: job {submission.job_id} submitted, {submission.num_missing} trials to run on {nodes}"
    return "\n".join([head, *columns(rows)])


def describe_status(sweep: str, status: SweepStatus | InputError, *, everything: bool) -> str:
    """How a sweep stands, in lines."""
    if isinstance(status, InputError):
        return f"{sweep}\n  {status}"
    plan = status.plan
    rows = [
        ("state", _state(status)),
        ("cells", str(len(plan.cells))),
        ("trials", f"{_counted(plan.statuses) or 'none done'}, {plan.num_missing} to run"),
    ]
    if status.activity:
        rows.insert(1, ("now", _now(status.activity)))
    if plan.num_failed:
        rows.append(("", f"{plan.num_failed} without a result are left alone until --retry names them"))
    if plan.num_missing:
        rows.append(("time", _time(plan)))
    if everything:
        rows.append(("stored", f"{sum(status.rows.values())} rows in all: {_counted(status.rows)}"))
    if status.job:
        rows += [] if status.is_queued else [("job", describe_own_job(status.job, status.job_status))]
        rows.append(("log", status.job.log))
        rows += [("stopped", status.job.ended)] if status.job.ended else []
    rows.append(("folder", str(status.directory)))
    return "\n".join([sweep, *columns(rows)])


def describe_list(statuses: Mapping[str, SweepStatus | InputError]) -> str:
    """A line a sweep."""
    if not statuses:
        return "no sweeps yet"
    head = ("sweep", "cells", "done", "failed", "to run", "state")
    rows = [_line(sweep, status) for sweep, status in statuses.items()]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    )


def describe_trial(row: Mapping[str, Any], *, store: Path) -> str:
    """A stored trial: its spec, its result, where it ran, and how to repeat it."""
    spec = json.loads(row["spec"])
    blocks = [(name, _block(spec[name])) for name in ("task", "model", "train", "validate", "test", "resources")]
    outcome = ("solved", "steps", "validation_accuracy", "training_loss", "params", "recurrent_params", "wall_s")
    origin = (
        "host",
        "cpu",
        "device",
        "threads",
        "python",
        "torch",
        "version",
        "commit",
        "task_package",
        "tier_package",
    )
    rows = [
        ("sweep", row["sweep"]),
        ("cell", row["cell_id"]),
        *blocks,
        ("rate, seed", f"{row['lr']:g}, {row['seed']}"),
        ("status", " · ".join(str(part) for part in (row["status"], row["stop_reason"]) if part)),
        ("result", _some(row, outcome)),
        ("ran", f"{row['started_at']:{_TIME}} to {row['finished_at']:{_TIME}} UTC, attempt {row['attempts']}"),
        ("on", _some(row, origin)),
    ]
    if row["error"]:
        rows += [("error", row["error"]), ("", row["traceback"] or "")]
    show = ["bilin", "sweep", "show", row["trial_id"], "--sweep", row["sweep"], "--store", str(store), "--grid"]
    repeat = f"{shlex.join(show)} > trial.yaml && bilin sweep launch trial.yaml --store repeat-store"
    return "\n".join([row["trial_id"], *columns([*rows, ("repeat", repeat)])])


def _resources(plan: Plan) -> Iterable[tuple[str, str]]:
    """What a trial occupies, a line for each size."""
    sizes = dict.fromkeys(cell.wanted.resources.occupied for cell in plan.cells)
    for index, size in enumerate(list(sizes)[:MAX_VALUES]):
        yield "" if index else "a trial takes", describe_amounts(amounts_of(size))


def _failed(summary: Summary) -> list[Status]:
    """The classes of failure that a launch met."""
    return sorted(status for status, count in summary.ran.items() if count and status not in RESULT_STATUSES)


def duration(seconds: float) -> str:
    """Seconds as a person says them, such as ``3 min`` or ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.1f} days"


def _line(sweep: str, status: SweepStatus | InputError) -> tuple[str, ...]:
    if isinstance(status, InputError):
        return (sweep, "?", "?", "?", "?", f"not to be read here: `bilin sweep status {sweep}` says why")
    plan = status.plan
    numbers = (len(plan.cells), plan.num_done, plan.num_failed, plan.num_missing)
    return (sweep, *map(str, numbers), _state(status))


def _axes(documents: Sequence[Sequence[Axis]]) -> Iterable[tuple[str, str]]:
    for number, axes in enumerate(documents):
        first = "axes" if len(documents) == 1 else f"axes {number + 1}"
        for axis in axes:
            yield first, f"{axis.name}: {_values(axis.values)}"
            first = ""


def _values(values: Sequence[object]) -> str:
    shown = ", ".join(str(value) for value in values[:MAX_VALUES])
    return shown if len(values) <= MAX_VALUES else f"{shown}, … ({len(values)} values)"


def _search(plan: Plan) -> str:
    searches = {cell.wanted.learning_rate for cell in plan.cells}
    at_most = any(not isinstance(search, Choices) or search.until_solved for search in searches)
    return " at most: a search may end early, or name a rate twice" if at_most else ""


def _time(plan: Plan) -> str:
    estimate = plan.estimate
    if not plan.num_missing:
        return "nothing to run"
    if estimate.num_unknown == plan.num_missing:
        return "not known: no stored trial has the shape of those to run"
    unknown = f"; {estimate.num_unknown} more have a shape that none has" if estimate.num_unknown else ""
    return f"about {duration(estimate.seconds)} on one worker, from {estimate.num_stored} stored trials{unknown}"


def _state(status: SweepStatus) -> str:
    if status.job and status.is_queued:
        return describe_own_job(status.job, status.job_status)
    if status.running:
        return _running(status.running)
    return "not running, some trials to run" if status.plan.num_missing else "complete"


def _running(holder: Holder) -> str:
    if holder.silent_s < 2 * LAPSE_S:
        return f"running on {holder.host}, pid {holder.pid}"
    heard = duration(holder.silent_s)
    return f"not heard of for {heard} (pid {holder.pid} on {holder.host}): a launch takes it over if it is dead"


def _now(activity: Activity) -> str:
    """What a launch does at present, by what it last said."""
    since = datetime.fromtimestamp(activity.started_at, UTC)
    ended = _counted(activity.ended) or "none ended"
    rate = f", {60 * activity.trials_per_s:.1f} a minute" if activity.ended else ""
    return f"{len(activity.running)} trials run; since {since:{_TIME}} UTC: {ended}{rate}"


def describe_own_job(job: Job, status: JobStatus | None) -> str:
    """How the job of a sweep stands; where Slurm does not say, when it was submitted."""
    return f"job {job.job_id} " + (status.describe() if status else f"submitted {job.submitted_at}")


def _counted(statuses: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()) if count)


def _block(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_written(value)}" for name, value in values.items())


def _some(row: Mapping[str, Any], names: Iterable[str]) -> str:
    return _block({name: row[name] for name in names if row[name] is not None})


def _written(value: object) -> str:
    """A value as a grid has it, numbers rounded."""
    if isinstance(value, str):
        return value
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Rows of two, as lines with the second ones under each other."""
    width = max(len(first) for first, _ in rows)
    return [f"  {first.ljust(width)}  {second}".rstrip() for first, second in rows]
