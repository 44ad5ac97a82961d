"""How a trial stands, and why, in words."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bilin.cli.sweep.words import columns, describe_own_job, duration
from bilin.failures import RETRYABLE, RULES
from bilin.orchestrator import Why
from bilin.orchestrator.planning.plan import CellPlan
from bilin.orchestrator.running.activity import Activity, RunningTrial
from bilin.record import RERUN_STATUSES

_TIME = "%Y-%m-%d %H:%M:%S"


def describe_why(why: Why, *, store: Path) -> str:
    """How a trial stands, why, and what to do, in lines."""
    return "\n".join([f"{why.trial_id}: {_HEADS[why.state]}", *columns(list(_rows(why, store)))])


_HEADS = {
    "ended": "has ended",
    "running": "runs",
    "waiting": "waits",
    "later": "waits for a search round before it",
    "not wanted": "is not wanted",
    "not in the grid": "is not in the grid as last launched",
}


def _rows(why: Why, store: Path) -> Iterator[tuple[str, str]]:
    if why.running and why.activity:
        yield from _runs(why.running, why.activity)
    elif why.state == "waiting":
        yield "for", _waits(why)
        if why.activity and why.trial_id in why.activity.again:
            yield "again", why.activity.again[why.trial_id]
    elif why.cell is not None and why.state in ("later", "not wanted"):
        yield "search", _search(why.cell, why.state)
    elif why.state == "not in the grid":
        yield "grid", "no launch runs it; its row stays, and `bilin results query --view trials --all` shows it"
    yield from _row(why, store)
    if why.kept:
        yield "kept", f"its state at step {why.kept.step}, {_ago(why.kept.at)}: whoever runs it next goes on from there"
    if why.log:
        logs = ["bilin", "sweep", "logs", why.sweep.sweep, why.trial_id, "--store", str(store)]
        yield "output", shlex.join(logs)


def _runs(trial: RunningTrial, activity: Activity) -> Iterator[tuple[str, str]]:
    yield "since", f"{datetime.fromtimestamp(trial.since, UTC):{_TIME}} UTC, attempt {trial.attempt} of this launch"
    if trial.host is None:
        yield "on", "a worker that has not said anything yet: it starts, or its node has no room for it"
    else:
        yield "on", " ".join([f"{trial.host}, process {trial.pid}", *([f"({trial.worker})"] if trial.worker else [])])
        accuracy = "" if trial.accuracy is None else f", accuracy {trial.accuracy:.3f}"
        yield "step", f"{trial.step} of {trial.max_steps}{accuracy}"
    yield "as of", _ago(activity.at)


def _waits(why: Why) -> str:
    if why.sweep.running is None and why.sweep.job and why.sweep.is_queued:
        return describe_own_job(why.sweep.job, why.sweep.job_status)
    if why.sweep.running is None:
        return "a launch: nobody runs the sweep now, and the next one runs it"
    if why.activity is None:
        return "the launch that has just begun, or cannot be read"
    num_running = len(why.activity.running)
    narrowed = ", if the launch wants it: it was asked for a part of the grid only" if why.activity.narrowed else ""
    return f"a free worker: {num_running} trials run, {why.activity.num_left - num_running} wait{narrowed}"


def _search(cell: CellPlan, state: str) -> str:
    tried = ", ".join(f"{rate:g}" for rate in cell.rates)
    if state == "later":
        return f"the rates before it ({tried}) have {len(cell.missing)} trials to run; what they give decides"
    return f"the rates before it ({tried}) were enough, so nothing runs it"


def _row(why: Why, store: Path) -> Iterator[tuple[str, str]]:
    row = why.row
    if row is None:
        return
    status = row["status"]
    first = "status" if why.state in ("ended", "not in the grid") else "before"
    yield first, " · ".join(str(part) for part in (status, row["stop_reason"]) if part)
    where = f" on {row['host']}" if row["host"] else ""
    yield "ran", f"{row['started_at']:{_TIME}} to {row['finished_at']:{_TIME}} UTC{where}, attempt {row['attempts']}"
    if row["error"]:
        yield "error", row["error"]
    if status in RULES:
        yield "why", RULES[status].what
        yield "rule", RULES[status].then
    if row["traceback"]:
        show = ["bilin", "sweep", "show", why.trial_id, "--sweep", why.sweep.sweep, "--store", str(store)]
        yield "traceback", shlex.join(show)
    if status in RETRYABLE or status in RERUN_STATUSES:
        retry = ["--retry", status] if status in RETRYABLE else []
        yield "run again", shlex.join(["bilin", "sweep", "launch", "GRID.yaml", "--store", str(store), *retry])


def _ago(at: float) -> str:
    return f"{duration(max(0.0, time.time() - at))} ago"
