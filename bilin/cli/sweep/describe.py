"""Texts about plans, launches, sweeps and trials."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bilin.cli.text import wrap
from bilin.errors import InputError, InterruptedSweepError
from bilin.failures import RETRYABLE, RULES
from bilin.orchestrator import (
    Ended,
    Failure,
    Job,
    JobStatus,
    NotInstalledError,
    Plan,
    Submission,
    Summary,
    SweepState,
    SweepStatus,
    Why,
)
from bilin.orchestrator.background import Cancelled, Detached, RayJob
from bilin.record import RERUN_STATUSES
from bilin.results import Holder, store_option
from bilin.units import duration, plural

MAX_ERRORS = 5
"""How many different errors of failed trials are shown."""

WIDTH = 80
"""Columns of a terminal, to which sentences are wrapped. Commands are never broken."""

MIN_WIDTH = 30
"""Least width of the last text of a table."""

_TIME = "%Y-%m-%d %H:%M:%S"

_BLOCKS = ("task", "model", "train", "validate", "test", "resources")
_OUTCOME = ("solved", "steps", "validation_accuracy", "training_loss", "params", "recurrent_params", "wall_s")
_ORIGIN = (
    "cpu", "gpu", "gpu_memory_mb", "device", "threads", "pack", "python", "torch", "version", "commit", "task_package",
    "tier_package",
)  # fmt: skip

_STATES = {
    "ended": "has ended",
    "running": "runs",
    "waiting": "waits",
    "later": "waits for an earlier round of its search",
    "not asked for": "is not asked for",
    "not in the grid": "is not in the grid of the last launch",
}


def describe_summary(summary: Summary, failures: Sequence[Failure], relaunch: Sequence[str]) -> str:
    """Describe how a launch ended, and what to type next.

    Args:
        summary: How it ended.
        failures: The errors of the sweep's failed trials.
        relaunch: The command that runs the rest of the sweep.
    """
    num_ran, store = sum(summary.ran.values()), summary.directory.parent
    by_status = f" ({counted(summary.ran)})" if num_ran else ""
    tests = f", {summary.num_tests} of them only tested, with their kept weights" if summary.num_tests else ""
    parts = [f"{summary.num_found} found in the store", f"{num_ran} run{by_status}{tests}"]
    if summary.num_failed:
        parts.append(f"{summary.num_failed} without a result")
    rows = [("state", _standing(summary.state, summary.num_done)), ("trials", ", ".join(parts))]
    if kept := summary.num_unfinished:
        them = "its stored result stays, and the next launch runs it again"
        if kept > 1:
            them = "their stored results stay, and the next launch runs them again"
        rows.append(("", f"{kept} failed; {them}"))
    if summary.num_left:
        rows.append(("", f"{summary.num_left} still to run"))
    if summary.num_elsewhere:
        rows.append(("", f"{summary.num_elsewhere} to run in the cells that --only leaves out"))
    copies = [f"{plural(count, 'result')} found in {name}" for name, count in summary.num_copied.items()]
    rows += [("" if index else "copied", text) for index, text in enumerate(copies)]
    if summary.stopped:
        rows.append(("stopped", f"stopped early: {summary.stopped}"))
    if summary.num_done:
        rows.append(
            ("table", shlex.join(["bilin", "results", "table", "--sweep", summary.sweep, *store_option(store)]))
        )
    rows += _failure_rows(summary.sweep, failures, store)
    if failures or summary.num_left or kept:
        rows.append(("run again", shlex.join([*relaunch, *_retry(failures)])))
    return "\n".join([summary.sweep, *columns(wrapped(rows))])


def describe_started(started: Submission | Detached | RayJob) -> str:
    """Describe where a submitted or detached sweep runs, how to watch it and how to end it."""
    if isinstance(started, Submission):
        nodes = "1 node" if started.nodes == "1" else f"{started.nodes} nodes"
        where = f"job {started.job_id} submitted, {plural(started.num_to_run, 'trial')} to run on {nodes}"
    elif isinstance(started, Detached):
        where = f"runs in the background, process {started.pid}"
    else:
        where = f"runs in the background, Ray job {started.job_id}"
    rows = [(what, command(what, started.sweep, started.directory)) for what in ("watch", "cancel")]
    return "\n".join([f"{started.sweep}: {where}", *columns([*rows, ("log", str(started.log))])])


def describe_cancelled(cancelled: Cancelled, *, grace_s: float) -> str:
    """Describe how a sweep was ended."""
    killed = f"did not end within {grace_s:g} s and was killed"
    texts = {"cancelled": "is cancelled", "ended": "has ended", "killed": killed}
    ends = [f"job {job_id} {texts[how]}" for job_id, how in cancelled.jobs.items()]
    if cancelled.holder:
        ends.append(f"process {cancelled.holder.pid} {killed if cancelled.was_killed else 'has ended'}")
    if not ends:
        return f"{cancelled.sweep}: it is not running; nothing changed"
    return f"{cancelled.sweep}: {', '.join(ends)}; the same launch continues from here"


def describe_status(
    sweep: str, status: SweepStatus | InputError, *, everything: bool, failures: Sequence[Failure] = ()
) -> str:
    """Describe the state of a sweep; ``failures`` are the errors of its failed trials."""
    if isinstance(status, InputError):
        return f"{sweep}\n  {status}"
    plan = status.plan
    rows = [
        ("state", describe_state(status)),
        ("cells", str(len(plan.cells))),
        ("trials", f"{counted(plan.statuses) or 'none done'}, {plan.num_to_run} to run"),
    ]
    if snapshot := status.snapshot:
        ended = counted(snapshot.ended) or "none ended"
        speed = f", {60 * snapshot.trials_per_s:.1f} a minute" if snapshot.ended else ""
        since = _utc(snapshot.started_at)
        rows.insert(1, ("now", f"{plural(len(snapshot.running), 'trial')} running; since {since}: {ended}{speed}"))
    if plan.num_failed:
        rows.append(("", f"{plan.num_failed} without a result are not run again unless --retry names their class"))
    rows += [("versions", text)] if (text := describe_versions(plan)) else []
    if plan.num_to_run:
        rows.append(("time", describe_time(plan)))
    if everything:
        rows.append(("stored", f"{plural(sum(status.rows.values()), 'row')} in all: {counted(status.rows)}"))
    if status.job:
        rows += [] if status.is_queued else [("job", describe_own_job(status.job, status.job_status))]
        rows.append(("log", status.job.log))
        rows += [("stopped", status.job.ended)] if status.job.ended else []
    rows.append(("folder", str(status.folder.path)))
    if failures:
        store = status.folder.store
        rows += _failure_rows(sweep, failures, store)
        rows.append(("run again", shlex.join([*_launch_command(store), *_retry(failures)])))
    return "\n".join([sweep, *columns(wrapped(rows))])


def describe_ended(ended: Ended, failures: Sequence[Failure]) -> str:
    """Describe the state of a sweep that no process is running, and how to continue it."""
    status = ended.status
    lines = [describe_status(status.sweep, status, everything=False, failures=failures)]
    if ended.exit_code == InterruptedSweepError.exit_code:
        how = "has ended before its end" if ended.ran else "does not run"
        lines.append(f"it {how}: `bilin sweep launch` with its grid.yaml and this store runs the rest")
    return "\n".join(lines)


def describe_list(statuses: Mapping[str, SweepStatus | InputError]) -> str:
    """Describe the states of sweeps, one line each."""
    if not statuses:
        return "no sweeps yet"
    table = [["sweep", "cells", "done", "failed", "to run", "state"]]
    for sweep, status in statuses.items():
        if isinstance(status, InputError):
            table.append([sweep, *"????", _unreadable(sweep, status)])
        else:
            plan = status.plan
            counts = (len(plan.cells), plan.num_done, plan.num_failed, plan.num_to_run)
            table.append([sweep, *map(str, counts), describe_state(status)])
    *names, _ = zip(*table, strict=True)
    width = max(WIDTH - sum(max(map(len, column)) + 2 for column in names), MIN_WIDTH)
    return "\n".join(columns([line for row in table for line in _wrap(row, width)], indent=""))


def _unreadable(sweep: str, error: InputError) -> str:
    if isinstance(error, NotInstalledError):
        return f"cannot be read: needs {' and '.join(error.packages)}, not installed here"
    return f"cannot be read: `bilin sweep status {sweep}` says why"


def describe_trial(row: Mapping[str, Any], *, store: Path) -> str:
    """Describe a stored trial: its settings, how it ended, where it ran, and how to repeat it."""
    spec, (how, ran) = json.loads(row["spec"]), _ended(row)
    rows = [
        ("sweep", row["sweep"]),
        *_found_in(row, store),
        ("cell", row["cell_id"]),
        *((name, _values(spec[name])) for name in _BLOCKS),
        ("lr, seed", f"{row['lr']:g}, {row['seed']}"),
        *(
            [("searched", _values({field["name"]: field["value"] for field in row["searched"]}))]
            if row["searched"]
            else []
        ),
        ("status", how),
        ("result", _values({name: row[name] for name in _OUTCOME if row[name] is not None})),
        ("ran", ran),
        ("with", _values({name: row[name] for name in _ORIGIN if row.get(name) is not None})),
    ]
    if row["error"]:
        rows += [("error", row["error"]), ("", row["traceback"] or "")]
    show = [*_show(row["trial_id"], row["sweep"], store), "--grid"]
    repeat = f"{shlex.join(show)} > trial.yaml && bilin sweep launch trial.yaml --store repeat-store"
    return "\n".join([row["trial_id"], *columns(wrapped([*rows, ("repeat", repeat)]))])


def describe_own_job(job: Job, status: JobStatus | None) -> str:
    """Describe the state of a sweep's job; if Slurm does not answer, when it was submitted."""
    return f"job {job.job_id} " + (status.describe() if status else f"submitted {job.submitted_at}")


def describe_why(why: Why, *, store: Path) -> str:
    """Describe the state of a trial, the reason for it, and what to do."""
    return "\n".join([f"{why.trial_id}: {_STATES[why.state]}", *columns(wrapped(list(_why_rows(why, store))))])


def describe_state(status: SweepStatus) -> str:
    """Describe the state of a sweep in one line, which begins with the state."""
    if status.state is SweepState.QUEUED and status.job:
        return f"{status.state}: {describe_own_job(status.job, status.job_status)}"
    holder = status.holder
    if holder is None:
        return _standing(status.state, status.plan.num_done)
    if status.state is SweepState.RUNNING:
        return _running(holder)
    silent = duration(holder.silent_s)
    return f"silent for {silent} (pid {holder.pid} on {holder.host}): if it is dead, the next launch takes over"


def describe_plan_state(plan: Plan, holder: Holder | None) -> str:
    """Return one line that says what state the sweep of a plan is in, given the process that runs it now."""
    if not holder and plan.state is SweepState.INCOMPLETE and not plan.num_to_run:
        return f"{plan.state}: a launch copies results of other sweeps"
    return _running(holder) if holder else _standing(plan.state, plan.num_done)


def _running(holder: Holder) -> str:
    return f"running on {holder.host}, pid {holder.pid}"


def _standing(state: SweepState, num_done: int) -> str:
    """Describe the state of a sweep that no process is running."""
    if state is SweepState.INCOMPLETE:
        return f"{state}: not running, some trials to run"
    if state is SweepState.FAILED:
        return f"{state}: {'some trials have no result' if num_done else 'no trial has a result'}"
    return str(state)


def _failure_rows(sweep: str, failures: Sequence[Failure], store: Path) -> Iterator[tuple[str, str]]:
    """Yield each error of a sweep, and the commands that explain the most frequent one."""
    if not failures:
        return
    place = store_option(store)
    for failure in failures[:MAX_ERRORS]:
        trials = f"trial {failure.trial_id}" if failure.count == 1 else f"{failure.count} trials"
        yield failure.status, f"{trials}: {failure.error}"
        if failure.place:
            yield "", f"at {failure.place}"
    if len(failures) > MAX_ERRORS:
        where = ["--where", "error is not null", "--select", "trial_id,status,error"]
        query = ["bilin", "results", "query", "--view", "trials", *where, "--sweep", sweep, *place]
        yield "", f"and {len(failures) - MAX_ERRORS} other errors:"
        yield "", shlex.join(query)
    for status in dict.fromkeys(failure.status for failure in failures):
        yield "rule", f"{status}: {RULES[status].what}; {RULES[status].then}"
    trial_id = failures[0].trial_id
    yield "traceback", shlex.join(_show(trial_id, sweep, store))
    yield "output", shlex.join(["bilin", "sweep", "logs", sweep, trial_id, *place])


def wrapped(rows: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return rows of labels and texts, with the texts wrapped to a terminal."""
    width = WIDTH - 4 - max(len(label) for label, _ in rows)
    return [line for row in rows for line in _wrap(row, width)]


def _wrap(row: Sequence[str], width: int) -> list[list[str]]:
    """Return a row whose last text is wrapped, unless it is a command, a place in a file, or has several lines."""
    *others, text = row
    if text.startswith(("bilin ", "at ")) or "\n" in text:
        return [[*others, text]]
    first, *more = wrap(" ".join(text.split()), width)
    return [[*others, first], *([*([""] * len(others)), line] for line in more)]


def _retry(failures: Sequence[Failure]) -> list[str]:
    """Return the option with which a launch runs failed trials again."""
    classes = sorted({failure.status for failure in failures if failure.status in RETRYABLE})
    return ["--retry", ",".join(classes)] if classes else []


def _show(trial_id: str, sweep: str, store: Path) -> list[str]:
    return ["bilin", "sweep", "show", trial_id, "--sweep", sweep, *store_option(store)]


def _found_in(row: Mapping[str, Any], store: Path) -> Iterator[tuple[str, str]]:
    """Yield the sweep that ran a trial, if another one copied its row, and the command that shows the original."""
    if sweep := row["found_in"]:
        yield "found in", sweep
        yield "original", shlex.join(_show(row["trial_id"], sweep, store))


def _launch_command(store: Path) -> list[str]:
    return ["bilin", "sweep", "launch", "GRID.yaml", *store_option(store)]


def _why_rows(why: Why, store: Path) -> Iterator[tuple[str, str]]:
    snapshot = why.sweep.snapshot
    if why.running and snapshot:
        trial = why.running
        yield "since", f"{_utc(trial.since)}, attempt {trial.attempt} of this launch"
        if trial.host is None:
            yield "on", "a worker that has not begun it: the worker starts, or its node has no room"
        else:
            yield "on", f"{trial.host}, process {trial.pid}" + (f" ({trial.worker})" if trial.worker else "")
            accuracy = "" if trial.accuracy is None else f", accuracy {trial.accuracy:.3f}"
            yield "step", f"{trial.step} of {trial.max_steps}{accuracy}"
        yield "as of", _ago(snapshot.at)
    elif why.state == "waiting":
        yield "for", _waits_for(why)
        if snapshot and why.trial_id in snapshot.retries:
            yield "retry", snapshot.retries[why.trial_id]
    elif why.cell is not None and why.state in ("later", "not asked for"):
        tried = ", ".join(map(str, why.cell.points))
        waits = f"have {plural(len(why.cell.to_run), 'trial')} to run, which decide"
        how = waits if why.state == "later" else "were enough, so nothing runs it"
        yield "search", f"the points before it ({tried}) {how}"
    elif why.state == "not in the grid":
        yield "grid", "no launch runs it; its row stays, and `bilin results query --view trials --all` shows it"
    yield from _stored_rows(why, store)
    if why.checkpoint:
        yield "checkpoint", f"at step {why.checkpoint.step}, {_ago(why.checkpoint.at)}: its next run continues there"
    if why.log:
        yield "output", shlex.join(["bilin", "sweep", "logs", why.sweep.sweep, why.trial_id, *store_option(store)])


def _waits_for(why: Why) -> str:
    snapshot = why.sweep.snapshot
    if why.sweep.holder is None and why.sweep.job and why.sweep.is_queued:
        return describe_own_job(why.sweep.job, why.sweep.job_status)
    if why.sweep.holder is None:
        return "a launch: no process is running the sweep, and the next launch runs the trial"
    if snapshot is None:
        return "a launch that has just begun, or whose snapshot cannot be read"
    num_running = len(snapshot.running)
    part = ", if the launch includes it: it was limited by --only" if snapshot.is_part else ""
    return f"a free worker: {plural(num_running, 'trial')} running, {snapshot.num_open - num_running} waiting{part}"


def _stored_rows(why: Why, store: Path) -> Iterator[tuple[str, str]]:
    row = why.row
    if row is None:
        return
    status = row["status"]
    first = "status" if why.state in ("ended", "not in the grid") else "before"
    how, ran = _ended(row)
    yield first, how
    yield from _found_in(row, store)
    yield "ran", ran
    if row["error"]:
        yield "error", row["error"]
    if status in RULES:
        yield "why", RULES[status].what
        yield "rule", RULES[status].then
    if row["traceback"]:
        yield "traceback", shlex.join(_show(why.trial_id, why.sweep.sweep, store))
    if status in RETRYABLE or status in RERUN_STATUSES:
        retry = ["--retry", status] if status in RETRYABLE else []
        yield "run again", shlex.join([*_launch_command(store), *retry])


def command(what: str, sweep: str, directory: Path) -> str:
    """Return a command about a sweep that works in every folder of this machine."""
    return shlex.join(["bilin", "sweep", what, sweep, "--store", str(directory.parent.absolute())])


def describe_time(plan: Plan) -> str:
    """Say how long the missing trials of a plan will take."""
    estimate = plan.estimate
    if not plan.num_to_run:
        return "nothing to run"
    if estimate.num_unknown == plan.num_to_run:
        return "not known: no stored trial has the same task, model and training"
    left_out = f", without {estimate.num_unknown} to which no stored trial is similar" if estimate.num_unknown else ""
    known = plural(estimate.num_stored, "stored trial")
    return f"about {duration(estimate.seconds)} on one worker, from {known}{left_out}"


def describe_versions(plan: Plan) -> str:
    """Say how many stored results are of other versions than the installed ones; nothing if none."""
    if not (others := plan.stale):
        return ""
    counts = ", ".join(f"{plural(count, 'trial')} by {versions}" for versions, count in others.items())
    return f"{counts}, not installed now: --rerun-stale runs them again"


def counted(statuses: Mapping[Any, int]) -> str:
    """Return counts by status, such as ``3 done, 1 lost``."""
    return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()) if count)


def columns(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> list[str]:
    """Return rows of texts as lines, with the texts of a column below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [indent + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _ended(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return how a stored trial ended, and when and where it ran."""
    where = f" on {row['host']}" if row["host"] else ""
    ran = f"{row['started_at']:{_TIME}} to {row['finished_at']:{_TIME}} UTC{where}, attempt {row['attempts']}"
    return " · ".join(dict.fromkeys(str(part) for part in (row["status"], row["stop_reason"]) if part)), ran


def _values(values: Mapping[str, Any]) -> str:
    """Values as a grid has them, with numbers rounded."""
    texts = {
        name: value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else json.dumps(value)
        for name, value in values.items()
    }
    return " ".join(f"{name}={text}" for name, text in texts.items())


def _utc(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):{_TIME}} UTC"


def _ago(at: float) -> str:
    return f"{duration(max(0.0, time.time() - at))} ago"
