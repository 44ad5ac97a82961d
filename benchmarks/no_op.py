"""Trials of no work, with results of the usual size, for the benchmarks of the sweep."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bilin.orchestrator.grid import Grid, parse_grid
from bilin.orchestrator.planning.plan import make_plan
from bilin.orchestrator.sweep.loop import Sweep
from bilin.orchestrator.sweep.recorder import Recorder
from bilin.orchestrator.sweep.snapshot import Observer
from bilin.record import Curve, CurvePoint, LengthResult, Progress, TrialResult
from bilin.results import SweepWriter, stored
from bilin.spec import TrialSpec
from bilin.workers.events import Emit, Event, Finished, Report, ignore
from bilin.workers.pool import Group, Pool
from bilin.workers.training.checkpoint import Checkpoints

GRID = """
name: no-op
tasks: [{{name: modular_addition, m: [{moduli}]}}]
models: [{{tier: full}}]
learning_rate: {{choices: [1e-3]}}
seeds: [{seeds}]
"""
CELLS = 100
"""Number of cells over which the trials of a large sweep are spread."""


def no_op(spec: TrialSpec, *, report: Report, checkpoints: Checkpoints | None) -> TrialResult:
    """Return the result of a trial of no work: 40 evaluations, two tested lengths."""
    began = time.perf_counter()
    report(Progress(trial_id=spec.trial_id, step=1, max_steps=1))
    return TrialResult(
        trial_id=spec.trial_id,
        status="done",
        stop_reason="solved",
        validation_accuracy=1.0,
        training_loss=0.1,
        lengths=(LengthResult(10, 2048, 2048, 5), LengthResult(500, 2048, 2048, 5)),
        curve=Curve.of([CurvePoint(step * 250, None, 0.5, 0.9) for step in range(1, 41)]),
        wall_s=time.perf_counter() - began,
    )


class Listener:
    """Takes the events of a pool on which sweeps run one after the other."""

    def __init__(self) -> None:
        self.emit: Emit = ignore

    def __call__(self, event: Event) -> None:
        """Pass an event to the sweep that is running."""
        self.emit(event)


def grid_of(count: int) -> Grid:
    """Return a grid with this number of trials."""
    cells = CELLS if count % CELLS == 0 else 1
    moduli, seeds = (", ".join(map(str, numbers)) for numbers in (range(2, 2 + cells), range(count // cells)))
    return parse_grid(GRID.format(moduli=moduli, seeds=seeds))


def sweep(pool: Pool, listener: Listener, count: int, *, observer: Observer = lambda snapshot: None) -> float:
    """Run this number of trials on a pool; return the seconds from the plan to the last result on disk."""
    grid = grid_of(count)
    with tempfile.TemporaryDirectory() as store, SweepWriter(store, grid.name) as writer:
        started = time.perf_counter()
        plan = make_plan(grid, {})
        with Recorder(writer) as recorder:
            running = Sweep(plan, recorder, observer)
            listener.emit = running.take
            running.run(pool)
        seconds = time.perf_counter() - started
        assert len(stored(Path(store), grid.name)) == count
    return seconds


def warm_up(pool: Pool, listener: Listener, workers: int) -> None:
    """Start every worker before the clock starts."""
    ended = []
    listener.emit = lambda event: ended.append(event) if isinstance(event, Finished) else None
    for spec in make_plan(grid_of(workers), {}).to_run():
        pool.submit(Group((spec,)))
    while len(ended) < workers:
        pool.wait(1.0)
