"""Texts about single trials: what is stored of one, and why one runs or does not."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bilin.cli.sweep.describe import TIME, columns, describe_own_job, launch_command, show_command, utc, wrapped
from bilin.failures import RETRYABLE, RULES
from bilin.orchestrator import Why
from bilin.record import RERUN_STATUSES
from bilin.results import store_option
from bilin.units import duration, plural

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
    "later": "waits for the learning rates before it",
    "not asked for": "is not asked for",
    "not in the grid": "is not in the grid of the last launch",
}


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
        *_pruned(row),
        ("result", _values({name: row[name] for name in _OUTCOME if row[name] is not None})),
        ("ran", ran),
        ("with", _values({name: row[name] for name in _ORIGIN if row.get(name) is not None})),
    ]
    if row["error"]:
        rows += [("error", row["error"]), ("", row["traceback"] or "")]
    show = [*show_command(row["trial_id"], row["sweep"], store), "--grid"]
    repeat = f"{shlex.join(show)} > trial.yaml && bilin sweep launch trial.yaml --store repeat-store"
    return "\n".join([row["trial_id"], *columns(wrapped([*rows, ("repeat", repeat)]))])


def describe_why(why: Why, *, store: Path) -> str:
    """Describe the state of a trial, the reason for it, and what to do."""
    return "\n".join([f"{why.trial_id}: {_STATES[why.state]}", *columns(wrapped(list(_why_rows(why, store))))])


def _found_in(row: Mapping[str, Any], store: Path) -> Iterator[tuple[str, str]]:
    """Yield the sweep that ran a trial, if another one copied its row, and the command that shows the original."""
    if sweep := row["found_in"]:
        yield "found in", sweep
        yield "original", shlex.join(show_command(row["trial_id"], sweep, store))


def _why_rows(why: Why, store: Path) -> Iterator[tuple[str, str]]:
    snapshot = why.sweep.snapshot
    if why.running and snapshot:
        trial = why.running
        yield "since", f"{utc(trial.since)}, attempt {trial.attempt} of this launch"
        if trial.host is None:
            yield "on", "a worker that has not started it yet: the worker is starting, or its node has no room"
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
        waits = f"have {plural(len(why.cell.to_run), 'trial')} to run, which decide whether it runs"
        how = waits if why.state == "later" else "were enough, so nothing runs it"
        yield "search", f"those before it ({tried}) {how}"
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
    yield from _pruned(row)
    if status in RULES:
        yield "why", RULES[status].what
        yield "rule", RULES[status].then
    if row["traceback"]:
        yield "traceback", shlex.join(show_command(why.trial_id, why.sweep.sweep, store))
    if status in RETRYABLE or status in RERUN_STATUSES:
        retry = ["--retry", status] if status in RETRYABLE else []
        yield "run again", shlex.join([*launch_command(store), *retry])


def _pruned(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield why a pruner stopped a trial, if one did."""
    if row["status"] == "pruned":
        had_reached = " that had reached it" if row["stop_reason"] == "asynchronous_rung" else ""
        yield "why", f"at step {row['steps']}, its learning rate was behind others{had_reached}: the pruner stopped it"


def _ended(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return how a stored trial ended, and when and where it ran."""
    where = f" on {row['host']}" if row["host"] else ""
    ran = f"{row['started_at']:{TIME}} to {row['finished_at']:{TIME}} UTC{where}, attempt {row['attempts']}"
    return " · ".join(dict.fromkeys(str(part) for part in (row["status"], row["stop_reason"]) if part)), ran


def _values(values: Mapping[str, Any]) -> str:
    """Values as a grid has them, with numbers rounded."""
    texts = {
        name: value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else json.dumps(value)
        for name, value in values.items()
    }
    return " ".join(f"{name}={text}" for name, text in texts.items())


def _ago(at: float) -> str:
    return f"{duration(max(0.0, time.time() - at))} ago"
