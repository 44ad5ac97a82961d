"""What a launch shows while it runs: a live view on a terminal, plain lines elsewhere. All of it on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bilin.cli.sweep.words import duration
from bilin.orchestrator import Labels, SweepState
from bilin.record import Progress
from bilin.spec import TrialSpec

REFRESH_S = 0.25
LINE_S = 10.0
MAX_RUNNING = 8
NUM_LEADERS = 5


class Display(Protocol):
    """An observer that also says what a sweep waits for that does not run."""

    def __call__(self, state: SweepState) -> None:
        """Show how it stands."""

    def wait(self, line: str) -> None:
        """Show what it waits for."""


@contextmanager
def display() -> Iterator[Display]:
    """An observer that shows a sweep while it runs."""
    console = Console(file=sys.stderr)  # that of now: while a trial runs in this process it is a copy into its log
    if not console.is_terminal:
        yield _Lines(console)
        return
    live = Live(console=console, auto_refresh=False, transient=True)
    with live:
        yield _View(live)


class _Lines:
    """Plain lines: one at the start, one every `LINE_S`, one at the end; notes and failures as they come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._notes = _Notes()
        self._at = 0.0
        self._waits = ""

    def __call__(self, state: SweepState) -> None:
        self._waits = ""
        for line in self._notes.new(state):
            self._print(line)
        if time.monotonic() - self._at >= LINE_S or not state.num_left:
            self._at = time.monotonic()
            self._print(counts(state))

    def wait(self, line: str) -> None:
        if line != self._waits:
            self._waits = line
            self._print(line)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class _View:
    """A view that is drawn anew every `REFRESH_S`, with notes and failures above it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._notes = _Notes()
        self._labels: Labels | None = None
        self._at = 0.0

    def __call__(self, state: SweepState) -> None:
        for line in self._notes.new(state):
            self._live.console.print(line, markup=False, highlight=False)
        if time.monotonic() - self._at < REFRESH_S:
            return
        self._at = time.monotonic()
        if self._labels is None:
            self._labels = Labels(cell.wanted.cell for cell in state.plan.cells)
        self._live.update(_draw(state, self._labels), refresh=True)

    def wait(self, line: str) -> None:
        self._live.update(Text(line), refresh=True)


class _Notes:
    """The notes of a state that have not been shown yet."""

    def __init__(self) -> None:
        self._shown = 0

    def new(self, state: SweepState) -> list[str]:
        notes = state.notes[self._shown :]
        self._shown += len(notes)
        return notes


def counts(state: SweepState) -> str:
    """One line: what is done, runs, failed and is left."""
    parts = [f"{state.plan.grid.name}: {state.num_done} done", f"{len(state.running)} running"]
    if state.num_failed:
        parts.append(f"{state.num_failed} failed")
    parts.append(f"{state.num_left} to go")
    if state.seconds_left is not None and state.num_left:
        asked = state.num_done + state.num_failed + state.num_left
        about = "at least" if asked < state.plan.num_wanted else "about"  # a search may ask for more
        parts.append(f"{_rate(state.trials_per_s)}, {about} {duration(state.seconds_left)} left")
    return " · ".join(parts)


def _draw(state: SweepState, labels: Labels) -> Group:
    total = state.num_done + state.num_failed + state.num_left
    bar = ProgressBar(total=max(total, 1), completed=total - state.num_left, width=40)
    head = Table.grid(padding=(0, 2))
    head.add_row(bar, Text(counts(state)))
    parts: list[Table] = [head]
    if state.running:
        parts.append(_running(state, labels))
    if leaders := state.leaders(NUM_LEADERS):
        table = _table("best so far", "rate", "seed", "steps", "validation")
        for spec, result in leaders:
            accuracy = f"{result.validation_accuracy or 0.0:.3f}" + (" solved" if result.solved else "")
            table.add_row(labels.cell(spec.cell), f"{spec.lr:g}", str(spec.seed), str(result.steps), accuracy)
        parts.append(table)
    return Group(*parts)


def _running(state: SweepState, labels: Labels) -> Table:
    table = _table("running", "rate", "seed", "step", "accuracy")
    shown = list(state.running.values())[:MAX_RUNNING]
    for each in shown:
        spec, said = each.spec, each.progress
        table.add_row(labels.cell(spec.cell), f"{spec.lr:g}", str(spec.seed), _step(spec, said), _accuracy(said))
    if len(state.running) > len(shown):
        table.add_row(f"and {len(state.running) - len(shown)} more")
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column(first, no_wrap=True)
    for other in others:
        table.add_column(other, justify="right", no_wrap=True)
    return table


def _step(spec: TrialSpec, said: Progress | None) -> str:
    return f"{said.step if said else 0}/{spec.cell.train.steps}"


def _accuracy(said: Progress | None) -> str:
    return "" if said is None or said.accuracy is None else f"{said.accuracy:.3f}"


def _rate(trials_per_s: float) -> str:
    return f"{trials_per_s:.1f} trials/s" if trials_per_s >= 1 else f"{trials_per_s * 60:.1f} trials/min"
