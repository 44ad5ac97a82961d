"""Texts about launches and sweeps."""

from __future__ import annotations

import re
import shlex
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
)
from bilin.orchestrator.background import Cancelled, Detached, RayJob
from bilin.orchestrator.sweep.progress import in_packs
from bilin.results import Holder, store_option
from bilin.units import duration, plural

MAX_ERRORS = 5
"""How many different errors of failed trials are shown."""

WIDTH = 80
"""Columns of a terminal, to which sentences are wrapped. Commands are never broken."""

MIN_WIDTH = 30
"""Least width of the last text of a table."""

NOT_AGAIN = "{} without a result are not run again unless --retry names their class"

TIME = "%Y-%m-%d %H:%M:%S"


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
    if text := describe_versions(summary.stale, summary.num_mixed):
        rows.append(("versions", text))
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
        since = utc(snapshot.started_at)
        running = f"{plural(len(snapshot.running), 'trial')} running{in_packs(snapshot)}"
        steps = f", {snapshot.steps_per_s:.3g} training steps/s" if snapshot.steps_per_s else ""
        rows.insert(1, ("now", f"{running}; since {since}: {ended}{speed}{steps}"))
    if plan.num_failed:
        rows.append(("", NOT_AGAIN.format(plan.num_failed)))
    rows += [("versions", text)] if (text := describe_versions(plan.stale, plan.num_mixed)) else []
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
        rows.append(("run again", shlex.join([*launch_command(store), *_retry(failures)])))
    return "\n".join([sweep, *columns(wrapped(rows))])


def status_json(statuses: Mapping[str, SweepStatus | InputError]) -> list[dict[str, Any]]:
    """Return the states of sweeps as plain values."""
    return [
        {"sweep": sweep, "error": str(status)} if isinstance(status, InputError) else _status_json(status)
        for sweep, status in statuses.items()
    ]


def _status_json(status: SweepStatus) -> dict[str, Any]:
    plan, snapshot, job = status.plan, status.snapshot, status.job
    return {
        "sweep": status.sweep,
        "state": str(status.state),
        "cells": len(plan.cells),
        "trials": dict(plan.statuses),
        "to_run": plan.num_to_run,
        "rows": dict(status.rows),
        "seconds_on_one_worker": plan.estimate.seconds,
        "running": snapshot
        and {
            "since": utc(snapshot.started_at),
            "trials": len(snapshot.running),
            "packs": snapshot.num_packs,
            "gpus": snapshot.num_gpus,
            "trials_per_s": snapshot.trials_per_s,
            "steps_per_s": snapshot.steps_per_s,
        },
        "process": status.holder.place if status.holder else None,
        "job": job
        and {
            "id": job.job_id,
            "log": job.log,
            "status": status.job_status.describe() if status.job_status else None,
        },
        "folder": str(status.folder.path),
    }


def describe_ended(ended: Ended, failures: Sequence[Failure]) -> str:
    """Describe the state of a sweep that no process is running, and how to continue it."""
    status = ended.status
    lines = [describe_status(status.sweep, status, everything=False, failures=failures)]
    if ended.exit_code == InterruptedSweepError.exit_code:
        how = "ended before it was complete" if ended.ran else "is not running"
        lines += wrap(f"it {how}: `bilin sweep launch` with its grid.yaml and this store runs the rest", WIDTH)
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


def describe_own_job(job: Job, status: JobStatus | None) -> str:
    """Describe the state of a sweep's job; if Slurm does not answer, when it was submitted."""
    return f"job {job.job_id} " + (status.describe() if status else f"submitted {job.submitted_at}")


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
    return f"silent for {silent} ({holder.place}): if it is dead, the next launch takes over"


def describe_plan_state(plan: Plan, holder: Holder | None) -> str:
    """Return one line that says what state the sweep of a plan is in, given the process that runs it now."""
    if not holder and plan.state is SweepState.INCOMPLETE and not plan.num_to_run:
        return f"{plan.state}: a launch copies results of other sweeps"
    return _running(holder) if holder else _standing(plan.state, plan.num_done)


def _running(holder: Holder) -> str:
    return f"running: {holder.place}"


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
    yield "traceback", shlex.join(show_command(trial_id, sweep, store))
    yield "output", shlex.join(["bilin", "sweep", "logs", sweep, trial_id, *place])


def wrapped(rows: Sequence[tuple[str, str]], *, indent: int = 2) -> list[list[str]]:
    """Return rows of labels and texts, with the texts wrapped to a terminal."""
    width = WIDTH - 2 - indent - max(len(label) for label, _ in rows)
    return [line for row in rows for line in _wrap(row, width)]


def _wrap(row: Sequence[str], width: int) -> list[list[str]]:
    """Return a row whose last text is wrapped, unless it is a command, a place in a file, or has several lines."""
    *others, text = row
    if re.match(r"bilin |at (?!most )", text) or "\n" in text:
        return [[*others, text]]
    first, *more = wrap(" ".join(text.split()), width)
    return [[*others, first], *([*([""] * len(others)), line] for line in more)]


def _retry(failures: Sequence[Failure]) -> list[str]:
    """Return the option with which a launch runs failed trials again."""
    classes = sorted({failure.status for failure in failures if failure.status in RETRYABLE})
    return ["--retry", ",".join(classes)] if classes else []


def show_command(trial_id: str, sweep: str, store: Path) -> list[str]:
    """Return the command that shows a trial."""
    return ["bilin", "sweep", "show", trial_id, "--sweep", sweep, *store_option(store)]


def launch_command(store: Path) -> list[str]:
    """Return the command that launches a sweep of a store again."""
    return ["bilin", "sweep", "launch", "GRID.yaml", *store_option(store)]


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
    unknown = estimate.num_unknown
    left_out = f"; {plural(unknown, 'trial')} of other kinds not included" if unknown else ""
    known = plural(estimate.num_stored, "stored trial")
    about = "about" if plan.share_of_steps == 1 else "at most about"  # a pruner stops some of them early
    return f"{about} {duration(estimate.seconds)} on one worker, based on {known}{left_out}"


def describe_versions(stale: Mapping[str, int], num_mixed: int) -> str:
    """Say how many results are of other versions than the installed ones, and how many cells mix versions."""
    if not stale:
        return ""
    counts = ", ".join(f"{plural(count, 'trial')} by {versions}" for versions, count in stale.items())
    mixed = f", in {plural(num_mixed, 'cell')} beside results of the installed versions" if num_mixed else ""
    return f"{counts}, not installed now{mixed}: --rerun-stale runs them again"


def counted(statuses: Mapping[Any, int]) -> str:
    """Return counts by status, such as ``3 done, 1 lost``."""
    return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()) if count)


def columns(rows: Sequence[Sequence[str]], *, indent: str = "  ") -> list[str]:
    """Return rows of texts as lines, with the texts of a column below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [indent + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def utc(at: float) -> str:
    """Return a time, in seconds since the epoch, as text."""
    return f"{datetime.fromtimestamp(at, UTC):{TIME}} UTC"
