"""What a launch writes to the store: results as they come in, what its searches ask for, and what the grid wants.

A separate thread writes results, several at once. So a finished trial is on disk within a second, also while the
sweep trains the next one in this process, and thousands of short ones are not written one at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Self

from bilin.failures import RULES
from bilin.orchestrator.grid import Choices, LogUniform, WantedCell, resolved
from bilin.orchestrator.planning.asked import Asked, AskedFile, read_asked
from bilin.orchestrator.planning.cell import CellPlan
from bilin.orchestrator.planning.plan import Plan, make_plan
from bilin.record import TrialResult
from bilin.results import Bounds, SweepWriter, UnreadableSweepError, WantedRow, fields_json
from bilin.spec import Point, TrialSpec
from bilin.workers.training.checkpoint import Checkpoints

FLUSH_PERIOD_S = 0.5


class Recorder:
    """Takes results, and appends those that have come in every `FLUSH_PERIOD_S`, and at the end of the context.

    Raises:
        Exception: On `put`, `check` or leaving, whatever the thread failed with.
    """

    def __init__(self, writer: SweepWriter, checkpoints: Checkpoints | None = None) -> None:
        self._writer = writer
        self._checkpoints = checkpoints
        self._asked = AskedFile(writer.folder)
        self._pairs: list[tuple[TrialSpec, TrialResult]] = []
        self._unneeded: list[str] = []
        self._written: set[str] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="bilin-recorder", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ending.set()
        self._thread.join()
        self.check()

    @property
    def num_written(self) -> int:
        """Trials whose results are stored."""
        return len(self._written)

    @property
    def num_unwritten(self) -> int:
        """Trials whose results have come in and are not stored."""
        return len({spec.trial_id for spec, _ in self._pairs})

    def put(self, spec: TrialSpec, result: TrialResult) -> None:
        """Queue a result, which is written soon."""
        with self._lock:
            self._pairs.append((spec, result))
        self.check()

    def take_over(self, sweep: str, trial_id: str) -> bool:
        """Copy a trial of another sweep of the store; return whether that has it, and can be read."""
        try:
            return bool(self._writer.take_over(sweep, [trial_id]))
        except UnreadableSweepError:
            return False

    def keep_asked(self, asked: Asked) -> None:
        """Keep the points that searches ask for, before a trial at one of them starts."""
        self._asked.add(asked)

    def drop_checkpoints(self, trial_ids: Iterable[str]) -> None:
        """Remove the checkpoints of trials that no pruner will let go on, once the results so far are on disk."""
        with self._lock:
            self._unneeded += trial_ids

    def _write(self) -> None:
        try:
            while not self._ending.wait(FLUSH_PERIOD_S):
                self._append()
            self._append()
        except BaseException as error:
            self._error = error

    def _append(self) -> None:
        with self._lock:
            pairs, unneeded = list(self._pairs), list(self._unneeded)
        self._writer.append([pair for pair in pairs if not pair[1].is_test])
        if tests := [pair for pair in pairs if pair[1].is_test]:
            self._writer.add_tests(tests)
        with self._lock:
            del self._pairs[: len(pairs)]
            del self._unneeded[: len(unneeded)]
        self._written.update(result.trial_id for _, result in pairs)
        if self._checkpoints:  # only now, when the results are on disk
            ended = (result for _, result in pairs if result.status != "pruned")  # one that is pruned may be continued
            rules = [(result.trial_id, RULES.get(result.status)) for result in ended]
            self._checkpoints.drop(trial_id for trial_id, rule in rules if not (rule and rule.keeps_checkpoint))
            self._checkpoints.drop(unneeded)

    def check(self) -> None:
        """Raise what the thread failed with, if it did."""
        if self._error is not None:
            raise self._error


def write_grid(writer: SweepWriter, plan: Plan, *, has_ended: bool) -> int:
    """Store what the whole grid wants now, also if ``only`` has narrowed this launch to some of its cells.

    While a sweep runs, its searches may ask for any point; when it has ended, the ones that they asked for are stored.

    Returns:
        How many trials are to run in the cells that the launch leaves out.
    """
    others: list[CellPlan] = []
    if not plan.grid.is_whole:
        whole, own = plan.grid.whole, {cell.cell_id for cell in plan.grid.cells}
        cells = make_plan(whole, plan.stored, asked=read_asked(writer.folder)).cells
        others = [cell for cell in cells if cell.wanted.cell_id not in own]
    asked = {cell.wanted.cell_id: cell.points for cell in (*others, *(plan.cells if has_ended else ()))}
    writer.write_wanted(_wanted_rows(plan.grid.all_cells, asked))
    writer.write_grid(resolved(plan.grid))
    return sum(cell.num_to_run for cell in others)


def _wanted_rows(cells: Iterable[WantedCell], asked: Asked) -> Iterator[WantedRow]:
    for cell in cells:
        search = cell.learning_rate
        points = asked.get(cell.cell_id, [*map(Point, search.choices)] if isinstance(search, Choices) else None)
        low, high = search.log_uniform if points is None and isinstance(search, LogUniform) else (None, None)
        yield WantedRow(
            cell_id=cell.cell_id,
            lrs=None if points is None or cell.ranges else tuple(point.lr for point in points),
            lr_low=low,
            lr_high=high,
            seeds=cell.seeds,
            num_trials=cell.max_trials,
            test_lengths=cell.test.lengths,
            num_sequences=cell.test.num_sequences,
            points=tuple(points) if points is not None and cell.ranges else None,
            ranges=tuple(Bounds(each.name, each.low, each.high) for each in cell.ranges) or None if low else None,
            fields=fields_json(cell.cell),
        )
