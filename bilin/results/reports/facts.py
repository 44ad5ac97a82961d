"""What was run, when, where and with which versions; what failed; and how to repeat it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from bilin.folder import store_option
from bilin.results.failures import Failure, failures
from bilin.results.markup import Sheet
from bilin.results.reports.data import Selection, numbers
from bilin.results.reports.standing import Standing, standings
from bilin.results.result_table import MISSING, ResultTable
from bilin.results.sql.open_store import OpenStore
from bilin.units import duration, plural

_MAX_ERRORS = 50
_MAX_HOSTS = 5
_COMMIT_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """An error of some trials, with the traceback of the first, and the command that shows it."""

    failure: Failure
    traceback: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFacts:
    """What was run of a sweep, and how to repeat it.

    Attributes:
        errors: The most frequent errors of its failed trials.
        num_more: How many other errors there are.
        versions: The versions that most of its trials ran with, as a sentence.
        commands: What to type to repeat it, in the folder of the grid's file.
        grid: The resolved grid, as JSON that `bilin sweep launch` reads; None if there is none.
    """

    standing: Standing
    errors: Sequence[Error]
    num_more: int
    versions: str
    commands: Sequence[str]
    grid: str | None


def runs(selection: Selection, trials: pa.Table, to_run: Mapping[str, int]) -> list[SweepFacts]:
    """Return what was run of each sweep, given every column of the trials."""
    found = []
    for sweep, standing in zip(selection.store.sweeps, standings(selection.store, to_run=to_run), strict=True):
        name = standing.sweep
        rows = trials.filter(pc.equal(trials["sweep"], name))
        errors = failures(name, store=selection.store) if standing.num_failed else []
        found.append(
            SweepFacts(
                standing=standing,
                errors=[_error(failure, name, rows, selection.store) for failure in errors[:_MAX_ERRORS]],
                num_more=max(0, len(errors) - _MAX_ERRORS),
                versions=_versions_in_words(rows),
                commands=_commands(name),
                grid=sweep.grid,
            )
        )
    return found


def facts(found: Sequence[SweepFacts], trials: pa.Table) -> Sheet:
    """Return what was run and when, a row for each sweep."""
    columns = ["started_at", "finished_at", "wall_s", "found_in"]
    by_sweep = {run.standing.sweep: trials.filter(pc.equal(trials["sweep"], run.standing.sweep)) for run in found}
    started, finished, wall_s, found_in = ([rows[name] for rows in by_sweep.values()] for name in columns)
    statuses = [run.standing.statuses for run in found]
    copied = [len(column) - column.null_count for column in found_in]
    return _sheet(
        {
            "sweep": [run.standing.sweep for run in found],
            "state": [run.standing.state for run in found],
            "cells": [run.standing.num_cells for run in found],
            "trials": [_counted(each) for each in statuses],
            **({"copied from other sweeps": copied} if any(copied) else {}),
            "first trial": [_time(pc.min(column).as_py()) for column in started],
            "last trial": [_time(pc.max(column).as_py()) for column in finished],
            "computation": [duration(pc.sum(column).as_py() or 0.0) for column in wall_s],
        }
    )


def _counted(statuses: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())) or "none"


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else ""


def _error(failure: Failure, sweep: str, rows: pa.Table, store: OpenStore) -> Error:
    words = ["bilin", "sweep", "show", failure.trial_id, "--sweep", sweep, *store_option(store.path)]
    tracebacks = rows.filter(pc.equal(rows["trial_id"], failure.trial_id))["traceback"].to_pylist()
    return Error(failure=failure, traceback="".join(filter(None, tracebacks)), command=shlex.join(words))


def _versions_in_words(rows: pa.Table) -> str:
    """Return the versions that most trials ran with."""
    names = ["version", "commit", "python", "torch", "task_package", "tier_package"]
    counts = Counter(zip(*(rows[name].to_pylist() for name in names), strict=True))
    if not counts:
        return "No trial has run yet"
    ((version, commit, python, torch, *packages), count), *others = counts.most_common()
    texts = [
        f"It ran with bilin {version}" + (f" (commit {commit[:_COMMIT_DIGITS]})" if commit else ""),
        f"Python {python}",
        f"torch {torch}",
        *sorted({package for package in packages if package}),
    ]
    rest = f"; {plural(sum(number for _, number in others), 'trial')} with other versions" if others else ""
    return f"{', '.join(texts)} ({plural(count, 'trial')}){rest}"


def _commands(sweep: str) -> list[str]:
    return [
        f"bilin sweep launch {sweep}.json",
        f"bilin results table --sweep {sweep}",
        f"bilin results report {sweep} -o {sweep}.html",
    ]


def hardware(trials: pa.Table) -> Sheet:
    """Return the processors and GPUs that ran trials, with their hosts, trials and hours."""
    names = ["cpu", "gpu", "gpu_memory_mb", "threads"]
    grouped = trials.group_by(names).aggregate([("host", "distinct"), ("wall_s", "sum"), ("trial_id", "count")])
    rows = grouped.sort_by([("trial_id_count", "descending")]).to_pylist()
    return _sheet(
        {
            "CPU": [row["cpu"] or "not known" for row in rows],
            "GPU": [_gpu(row["gpu"], row["gpu_memory_mb"]) for row in rows],
            "threads of a trial": [row["threads"] for row in rows],
            "hosts": [_hosts(row["host_distinct"]) for row in rows],
            "trials": [row["trial_id_count"] for row in rows],
            "computation": [duration(row["wall_s_sum"] or 0.0) for row in rows],
        }
    )


def _gpu(name: str | None, memory_mb: int | None) -> str:
    return "none" if name is None else f"{name}, {memory_mb / 1000:.0f} GB" if memory_mb else name


def _hosts(hosts: Sequence[str | None]) -> str:
    known = sorted({host for host in hosts if host})
    return ", ".join(known) if len(known) <= _MAX_HOSTS else plural(len(known), "host")


def versions(trials: pa.Table) -> Sheet:
    """Return the versions that ran trials, with the number of trials."""
    names = ["version", "commit", "python", "torch", "task_package", "tier_package"]
    grouped = trials.group_by(names).aggregate([("trial_id", "count")]).sort_by([("trial_id_count", "descending")])
    shown = [
        name for name in names if name in ("version", "python", "torch") or grouped[name].null_count < len(grouped)
    ]
    headings = {"version": "bilin", "python": "Python", "task_package": "tasks", "tier_package": "tiers"}
    digits = {"commit": _COMMIT_DIGITS}
    texts = {
        headings.get(name, name): [(value or MISSING)[: digits.get(name)] for value in grouped[name].to_pylist()]
        for name in shown
    }
    return _sheet({**texts, "trials": grouped["trial_id_count"].to_pylist()})


def cost(selection: Selection) -> Sheet | None:
    """Return the time of computation of each tier; None if no trial has run."""
    data = numbers(selection, "cost")
    if data is None:
        return None
    rows = data.to_pylist()
    has_gpu = any(row["gpu_hours"] for row in rows)
    gpu = {"of it on a GPU": [duration(3600 * row["gpu_hours"]) for row in rows]} if has_gpu else {}
    return _sheet(
        {
            "tier": [row["tier"] for row in rows],
            "trials": [row["num_trials"] for row in rows],
            "computation": [duration(3600 * row["hours"]) for row in rows],
            **gpu,
        }
    )


def _sheet(texts: Mapping[str, Sequence[str | int]]) -> Sheet:
    return ResultTable.of(pa.table(dict(texts))).sheet()
