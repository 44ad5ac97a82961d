"""Plan and launch a sweep: what `bilin sweep plan` and `bilin sweep launch` do, from Python too."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bilin.errors import InputError, InterruptedSweepError
from bilin.orchestrator.clusters import ClusterSpec, open_pool
from bilin.orchestrator.grid import Choices, Grid, LogUniform, WantedCell, read_grid, resolved, restore_grid
from bilin.orchestrator.plan import RETRYABLE, Plan, make_plan
from bilin.orchestrator.progress import Observer, SweepState
from bilin.orchestrator.recorder import Recorder
from bilin.orchestrator.sweep import Sweep
from bilin.record import Status
from bilin.results import DEFAULT_STORE, SweepWriter, stored, sweep_directory
from bilin.results import WantedCell as WantedRow
from bilin.spec import Resources
from bilin.workers import run_trial
from bilin.workers.pool import RunTrial


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a launch ended.

    Attributes:
        num_found: Wanted trials that were stored already, with a result.
        num_failed: Wanted trials without a result: from before and left alone, or from this launch.
        ran: How many trials this launch ran, by the status they ended with.
        stopped: Why it stopped before its end, if it did.
    """

    sweep: str
    directory: Path
    num_found: int
    num_failed: int
    ran: Mapping[Status, int]
    stopped: str | None = None

    @property
    def exit_code(self) -> int:
        """0: every wanted trial has a result; 1: some have none."""
        return 1 if self.num_failed or self.stopped else 0


def plan(
    grid: Grid | Path | str,
    *,
    store: Path | str = DEFAULT_STORE,
    overrides: Collection[str] = (),
    only: Collection[str] = (),
    retry: Collection[str] = (),
) -> Plan:
    """What a launch of a grid would run; reads the store, writes nothing.

    Args:
        grid: A grid, or the path of a grid.yaml.
        store: Directory of the store; it need not exist.
        overrides: Such as ``train.steps=500``; for a path only.
        only: Such as ``tier=full,m=2``; for a path only.
        retry: Statuses of failed trials to run again: ``failed``, ``oom``.

    Raises:
        InputError: The grid or another argument cannot be used; the message says why.
    """
    checked = check_retry(retry)
    if not isinstance(grid, Grid):
        grid = read_grid(Path(grid), overrides=tuple(overrides), only=tuple(only))
    return make_plan(grid, stored(store, grid.name), retry=checked)


def launch(
    grid: Grid | Path | str,
    *,
    store: Path | str = DEFAULT_STORE,
    cluster: ClusterSpec | None = None,
    overrides: Collection[str] = (),
    only: Collection[str] = (),
    retry: Collection[str] = (),
    observer: Observer | None = None,
    run: RunTrial = run_trial,
) -> Summary:
    """Run every trial of a grid that has no result yet, and store each as it ends.

    Args:
        grid: A grid, or the path of a grid.yaml.
        store: Directory of the store; created where it is missing.
        cluster: Where to run; a Ray of its own on this machine where none is given.
        overrides: Such as ``train.steps=500``; for a path only.
        only: Such as ``tier=full,m=2``; for a path only.
        retry: Statuses of failed trials to run again: ``failed``, ``oom``.
        observer: Called whenever the state may have changed.
        run: How a worker runs one trial.

    Raises:
        InputError: The grid or another argument cannot be used; nothing was written.
        SweepRunningError: Another process runs this sweep.
        InterruptedSweepError: A signal ended it; what was finished is stored, and the same call goes on.
        ClusterError: The cluster cannot be used.
    """
    checked = check_retry(retry)
    if not isinstance(grid, Grid):
        grid = read_grid(Path(grid), overrides=tuple(overrides), only=tuple(only))
    with SweepWriter(store, grid.name, command=" ".join(sys.argv)) as writer:
        current = make_plan(grid, stored(store, grid.name), retry=checked)
        _keep_grid(writer, grid)
        state, stopped = _run(current, writer, cluster or ClusterSpec(), observer or _ignore, run)
    return Summary(
        sweep=grid.name,
        directory=sweep_directory(store, grid.name),
        num_found=current.num_done,
        num_failed=current.num_failed + state.num_failed,
        ran=dict(state.statuses),
        stopped=stopped,
    )


def check_retry(statuses: Collection[str]) -> frozenset[Status]:
    """The statuses, if each is one that a launch can run again. Raises InputError otherwise."""
    known = {str(status): status for status in sorted(RETRYABLE)}
    for status in statuses:
        if status not in known:
            raise InputError(
                f"retry {status!r} is not known: {', '.join(known)} are (lost and cancelled trials run again anyway)"
            )
    return frozenset(known[status] for status in statuses)


def _run(
    current: Plan, writer: SweepWriter, cluster: ClusterSpec, observer: Observer, run: RunTrial
) -> tuple[SweepState, str | None]:
    state = SweepState(current)
    if not current.num_missing:
        return state, None
    demand = _demand(current)
    try:
        with (
            _signals_interrupt(),
            Recorder(writer) as recorder,
            open_pool(cluster, run, demand=demand, report=lambda said: _pass_on(state, said, observer)) as pool,
        ):
            sweep = Sweep(state, pool, recorder, observer)
            sweep.run()
    except KeyboardInterrupt:
        raise InterruptedSweepError(_interrupted(state)) from None
    return state, sweep.stopped


def _pass_on(state: SweepState, said: Any, observer: Observer) -> None:
    state.report(said)
    observer(state)


def _demand(current: Plan) -> Iterable[Resources]:
    return dict.fromkeys(cell.wanted.resources for cell in current.cells if cell.missing)


def _interrupted(state: SweepState) -> str:
    kept = Counter(state.statuses).total()
    return (
        f"interrupted: {kept} trials of this launch are kept, {state.num_left} are left; "
        "the same command goes on from here"
    )


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a sweep as Ctrl-C does: the finished trials kept, nothing left running."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _keep_grid(writer: SweepWriter, grid: Grid) -> None:
    """Store what the grid wants now: all of it, also where ``only`` narrowed this launch to a part."""
    text = resolved(grid)
    narrowed = len(grid.cells) < grid.counts.after_deduplication
    writer.write_wanted(_rows((restore_grid(text) if narrowed else grid).cells))
    writer.write_grid(text)


def _rows(cells: Iterable[WantedCell]) -> Iterator[WantedRow]:
    for cell in cells:
        search = cell.learning_rate
        yield WantedRow(
            cell_id=cell.cell_id,
            lrs=search.rates if isinstance(search, Choices) else None,
            lr_low=search.low if isinstance(search, LogUniform) else None,
            lr_high=search.high if isinstance(search, LogUniform) else None,
            seeds=cell.seeds,
            num_trials=cell.max_trials,
            test_lengths=cell.test.lengths,
            num_sequences=cell.test.num_sequences,
        )


def _ignore(state: SweepState) -> None:
    """An observer that looks away."""
