"""The states of single trials: their rows, what they printed, and why they do or do not run. Reads only the store."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bilin.errors import StoreError
from bilin.orchestrator.grid import Choices
from bilin.orchestrator.monitor.sweep import SweepStatus, status
from bilin.orchestrator.planning.cell import CellPlan
from bilin.orchestrator.sweep.snapshot import PERIOD_S, RunningTrial, Snapshot, read_snapshot
from bilin.results import DEFAULT_STORE, holder, stored
from bilin.spec import Point, TrialSpec
from bilin.workers.training.checkpoint import Checkpoint, Checkpoints

State = Literal["ended", "running", "waiting", "later", "not asked for", "not in the grid"]

FOLLOW_S = 0.5


def find_trial(trial_id: str, *, store: Path | str = DEFAULT_STORE, sweep: str | None = None) -> dict[str, Any]:
    """Return the stored row of a trial, given its id or the first digits; look in one sweep, or in all.

    If several sweeps have the trial, return the row of the one that ran it.

    Raises:
        StoreError: No trial, or more than one, has such an id.
    """
    from bilin.results import query

    _check_digits(trial_id, "trial")
    where = f"starts_with(trial_id, '{trial_id}')"
    rows = query(store=store, view="trials", where=where, sweep=sweep, everything=True).to_pylist()
    if not rows:
        raise StoreError(f"no trial begins with {trial_id}: `bilin results query --view trials` lists the ids")
    if len({row["trial_id"] for row in rows}) == 1:  # in several sweeps, which have copies of one row
        return min(rows, key=lambda row: row["found_in"] is not None)
    if len(rows) > 1:
        places = ", ".join(f"{row['sweep']}/{row['trial_id']}" for row in rows[:5])
        raise StoreError(f"{len(rows)} trials begin with {trial_id} ({places}): give more digits, or --sweep")
    row: dict[str, Any] = rows[0]
    return row


def _check_digits(text: str, what: str) -> None:
    if not text or not set("0123456789abcdef").issuperset(text):
        raise StoreError(f"{text!r} is not an id; accepted: the hexadecimal digits of a {what}, or the first of them")


def repeat_grid(row: Mapping[str, Any]) -> str:
    """Return the grid.yaml of one trial: launched into another store, it repeats the trial."""
    from ruamel.yaml import YAML

    spec = json.loads(row["spec"])
    document = {
        "name": f"repeat-{row['trial_id']}",
        "tasks": [spec["task"]],
        "models": [spec["model"]],
        "train": spec["train"],
        "validate": spec["validate"],
        "test": spec["test"],
        "learning_rate": {"choices": [spec["lr"]]},
        "seeds": [spec["seed"]],
        "resources": spec["resources"],
    }
    if searched := spec.get("searched", ()):  # its data and initial weights are those of its search
        for block, name in ((block, name) for block in (spec["model"], spec["train"]) for name in searched):
            if name in block:
                block[name] = {"uniform": [block[name]] * 2}
        document["learning_rate"] = {"log_uniform": [spec["lr"]] * 2, "trials": 1}
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(document, text)
    return text.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The state of one trial, and the reason for it.

    Attributes:
        state: ``ended``: it has a row that is used. ``running``, ``waiting``: a launch runs it, or will. ``later``: an
            earlier round of its search is not complete. ``not asked for``: the search ended without it. ``not in
            the grid``: it has a row, but the grid of the last launch does not name it.
        sweep: The state of its sweep.
        cell: Its cell in the plan; None if the grid does not name it.
        row: Its row in the store, also one of an earlier attempt that is not used.
        checkpoint: Its last checkpoint.
        log: The file of its output; None if it printed nothing.
    """

    trial_id: str
    state: State
    sweep: SweepStatus
    cell: CellPlan | None
    row: Mapping[str, Any] | None
    checkpoint: Checkpoint | None
    log: Path | None

    @property
    def running(self) -> RunningTrial | None:
        """The trial in the latest snapshot; None if it does not run."""
        return self.sweep.snapshot.trial(self.trial_id) if self.sweep.snapshot else None


def why(sweep: str, trial: str, *, store: Path | str = DEFAULT_STORE) -> list[Why]:
    """Return the state of a trial, or of each trial of a cell, given its id or the first digits.

    Raises:
        StoreError: No trial or cell, or more than one, has such an id; or the sweep cannot be read.
    """
    _check_digits(trial, "trial or cell")
    current = status(sweep, store=store)
    rows = stored(store, sweep)
    named = {spec.trial_id: (cell, spec) for cell in current.plan.cells for spec in _specs(cell)}
    ids = {row.trial_id: row.cell_id for row in rows.values()} | {
        trial_id: cell.wanted.cell_id for trial_id, (cell, _) in named.items()
    }
    checkpoints, found = Checkpoints(current.folder, 0.0), []
    for trial_id in _matching(trial, ids, sweep):
        cell, spec = named.get(trial_id, (None, None))
        log = current.folder.trial_log(trial_id)
        found.append(
            Why(
                trial_id=trial_id,
                state=_state(cell, spec, current.snapshot),
                sweep=current,
                cell=cell,
                row=find_trial(trial_id, store=store, sweep=sweep) if trial_id in rows else None,
                checkpoint=checkpoints.latest(trial_id),
                log=log if log.exists() else None,
            )
        )
    return found


def output(sweep: str, trial: str, *, store: Path | str = DEFAULT_STORE, follow: bool = False) -> Iterator[bytes]:
    """Return what a trial printed, in pieces; one attempt after the other, each under a line that says where it ran.

    With ``follow``, go on until the trial has ended, or no process is running the sweep.

    Raises:
        StoreError: No trial, or more than one, has such an id; or the sweep cannot be read.
    """
    found = why(sweep, trial, store=store)
    if len(found) > 1:
        some = ", ".join(one.trial_id for one in found[:5])
        raise StoreError(f"{trial} is a cell of {len(found)} trials ({some}): give the id of one")
    return _output(found[0], store, follow=follow)


def _output(trial: Why, store: Path | str, *, follow: bool) -> Iterator[bytes]:
    path = trial.sweep.folder.trial_log(trial.trial_id)
    position = 0
    is_over = not follow or trial.state in ("ended", "not asked for", "not in the grid")
    while True:
        content = path.read_bytes() if path.exists() else b""
        if len(content) < position:  # it was too long, and its beginning was left out
            position = 0
        if content[position:]:
            yield content[position:]
        position = len(content)
        if is_over:
            return
        time.sleep(FOLLOW_S)
        is_over = not _may_print(trial, store)


def _may_print(trial: Why, store: Path | str) -> bool:
    """Return whether a launch runs the trial, or may still start it."""
    if holder(store, trial.sweep.sweep) is None:
        return False
    snapshot = read_snapshot(trial.sweep.folder)
    if snapshot is None or snapshot.trial(trial.trial_id):
        return True
    if time.time() - snapshot.at > 2 * PERIOD_S:  # it trains in the launching process, which writes less often
        return True
    (now,) = why(trial.sweep.sweep, trial.trial_id, store=store)
    return now.state in ("running", "waiting", "later")


def _specs(cell: CellPlan) -> Iterator[TrialSpec]:
    """The trials of a cell that can be named now: later rounds of a search cannot."""
    search = cell.wanted.learning_rate
    points = dict.fromkeys([*cell.points, *map(Point, search.choices if isinstance(search, Choices) else ())])
    return (cell.spec(point, seed) for point in points for seed in cell.wanted.seeds)


def _matching(digits: str, ids: Mapping[str, str], sweep: str) -> list[str]:
    """Return the trial, or those of the cell, whose id begins with some digits."""
    trials = [trial_id for trial_id in ids if trial_id.startswith(digits)]
    cells = {cell_id for cell_id in ids.values() if cell_id.startswith(digits)}
    if len(trials) + len(cells) > 1:
        some = ", ".join([*trials, *sorted(cells)][:5])
        raise StoreError(f"{len(trials) + len(cells)} trials and cells begin with {digits} ({some}): give more digits")
    if cells:
        return [trial_id for trial_id, cell_id in ids.items() if cell_id in cells]
    if not trials:
        raise StoreError(
            f"no trial or cell of sweep {sweep!r} begins with {digits}: it is not in the grid of the last launch, and "
            "has no row; `bilin results query --view trials --all` lists the ids of rows"
        )
    return trials


def _state(cell: CellPlan | None, spec: TrialSpec | None, snapshot: Snapshot | None) -> State:
    if cell is None or spec is None:
        return "not in the grid"
    if snapshot and snapshot.trial(spec.trial_id):
        return "running"
    if any(ask.key == (spec.point, spec.seed) for ask in cell.to_run):
        return "waiting"
    if (spec.point, spec.seed) in cell.known:
        return "ended"
    return "later" if cell.to_run else "not asked for"
