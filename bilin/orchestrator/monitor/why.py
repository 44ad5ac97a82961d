"""What became of a trial, or why it does not run: from the store alone, from any machine that sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bilin.errors import StoreError
from bilin.orchestrator.grid import Choices
from bilin.orchestrator.monitor.inspect import TRIAL_ID_DIGITS, SweepStatus, find_trial, status
from bilin.orchestrator.planning.plan import CellPlan
from bilin.orchestrator.running.activity import Activity, RunningTrial
from bilin.results import DEFAULT_STORE, stored
from bilin.spec import TrialSpec
from bilin.workers.output.files import LOGS, Outputs
from bilin.workers.training.checkpoint import CHECKPOINTS, Checkpoints, Kept

State = Literal["ended", "running", "waiting", "later", "not wanted", "not in the grid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """How one trial stands.

    Attributes:
        state: ``ended``: it has a row that stands. ``running``, ``waiting``: a launch does or will run it. ``later``: a
            round of its search before it is not complete. ``not wanted``: the search ended without it. ``not in the
            grid``: it has a row, and the grid as last launched does not name it.
        sweep: How its sweep stands.
        cell: Its cell in the plan; None where the grid does not name it. ``lr`` and ``seed`` are then in the row.
        row: Its row in the store; also one that an earlier attempt left, and that does not stand.
        activity: What the sweep does now; None where nobody runs it, or that is not known.
        kept: Its checkpoint.
        log: The file of its output; None where it printed nothing.
    """

    trial_id: str
    state: State
    sweep: SweepStatus
    cell: CellPlan | None
    row: Mapping[str, Any] | None
    activity: Activity | None
    kept: Kept | None
    log: Path | None

    @property
    def running(self) -> RunningTrial | None:
        """What it runs as; None where it does not."""
        return self.activity.trial(self.trial_id) if self.activity else None


def why(sweep: str, trial: str, *, store: Path | str = DEFAULT_STORE) -> list[Why]:
    """How a trial stands, or each trial of a cell.

    Args:
        sweep: Name of the sweep.
        trial: Id of a trial or of a cell, or its first digits.
        store: Directory of the store.

    Raises:
        StoreError: None, or more than one, begins so; or the sweep cannot be read.
    """
    if not trial or not TRIAL_ID_DIGITS.issuperset(trial):
        raise StoreError(f"{trial!r} is no id: the hexadecimal digits of a trial's or a cell's, or the first of them")
    current = status(sweep, store=store)
    activity = current.activity
    rows = stored(store, sweep)
    named = {spec.trial_id: (cell, spec) for cell in current.plan.cells for spec in _specs(cell)}
    ids = {row.trial_id: row.cell_id for row in rows.values()} | {
        trial_id: cell.wanted.cell_id for trial_id, (cell, _) in named.items()
    }
    found = []
    for trial_id in _matching(trial, ids, sweep):
        cell, spec = named.get(trial_id, (None, None))
        found.append(
            Why(
                trial_id=trial_id,
                state=_state(cell, spec, activity),
                sweep=current,
                cell=cell,
                row=find_trial(trial_id, store=store, sweep=sweep) if trial_id in rows else None,
                activity=activity,
                kept=Checkpoints(current.directory / CHECKPOINTS, 0.0).kept(trial_id),
                log=_existing(Outputs(current.directory / LOGS).of(trial_id)),
            )
        )
    return found


def _specs(cell: CellPlan) -> Iterator[TrialSpec]:
    """The trials of a cell that can be named now: those of rounds to come cannot, where a search draws their rates."""
    search = cell.wanted.learning_rate
    rates = dict.fromkeys([*cell.rates, *(search.choices if isinstance(search, Choices) else ())])
    return (cell.spec(rate, seed) for rate in rates for seed in cell.wanted.seeds)


def _matching(first: str, ids: Mapping[str, str], sweep: str) -> list[str]:
    """The one trial, or those of the one cell, whose id begins so."""
    trials = [trial_id for trial_id in ids if trial_id.startswith(first)]
    cells = {cell_id for cell_id in ids.values() if cell_id.startswith(first)}
    if len(trials) + len(cells) > 1:
        some = ", ".join([*trials, *sorted(cells)][:5])
        raise StoreError(f"{len(trials) + len(cells)} trials and cells begin with {first} ({some}): give more digits")
    if cells:
        return [trial_id for trial_id, cell_id in ids.items() if cell_id in cells]
    if not trials:
        raise StoreError(
            f"no trial or cell of sweep {sweep!r} begins with {first}: it is not in the grid as last launched, nor has "
            "it a row; `bilin results query --view trials --all` lists the ids of rows"
        )
    return trials


def _state(cell: CellPlan | None, spec: TrialSpec | None, activity: Activity | None) -> State:
    if cell is None or spec is None:
        return "not in the grid"
    if activity and activity.trial(spec.trial_id):
        return "running"
    key = (spec.lr, spec.seed)
    if key in cell.known:
        return "ended"
    if key in cell.missing:
        return "waiting"
    return "later" if cell.missing else "not wanted"


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None
