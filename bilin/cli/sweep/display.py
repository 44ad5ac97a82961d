"""What `launch` and `watch` show of a running sweep: a live view on a terminal, else plain lines. All on stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from bilin.machine.streams import UnfailingStream
from bilin.orchestrator import Snapshot
from bilin.orchestrator.sweep.progress import Lines, Notes, progress_line

REFRESH_S = 0.25
MAX_RUNNING = 8
NUM_SHOWN_LEADERS = 5


@contextmanager
def display() -> Iterator[Lines | View]:
    """Show a sweep while it runs, and what it waits for."""
    with _own_stderr() as stream:
        console = Console(file=stream)
        if not console.is_terminal:
            yield Lines(stream)
            return
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield View(live)


@contextmanager
def _own_stderr() -> Iterator[Any]:
    """Open standard error once more: a trial that runs in this process may close or redirect what it finds."""
    try:
        descriptor = os.dup(sys.stderr.fileno())
    except (OSError, ValueError):  # a stream without a descriptor, as in a notebook
        yield sys.stderr
        return
    stream = os.fdopen(descriptor, "w", buffering=1, encoding=sys.stderr.encoding, errors=sys.stderr.errors)
    try:
        yield UnfailingStream(stream)
    finally:
        with suppress(OSError):
            stream.close()


class View:
    """A view on a terminal that is drawn every `REFRESH_S`, with the notes above it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._shown_at = 0.0
        self._notes = Notes()

    def __call__(self, snapshot: Snapshot) -> None:
        """Show what the sweep looks like, with the notes that have not been shown."""
        for line in self._notes.new(snapshot):
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        if time.monotonic() - self._shown_at >= REFRESH_S:
            self._shown_at = time.monotonic()
            self._live.update(_draw(snapshot), refresh=True)

    def wait(self, line: str) -> None:
        """Show what the sweep waits for."""
        self._live.update(Text(line), refresh=True)


def _draw(snapshot: Snapshot) -> Group:
    total = snapshot.num_total
    bar = ProgressBar(total=max(total, 1), completed=total - snapshot.num_left, width=40)
    head = Table.grid(padding=(0, 2))
    head.add_row(bar, Text(progress_line(snapshot)))
    tables: list[Table] = [head]
    if snapshot.running:
        table = _table("running", "lr", "seed", "step", "accuracy")
        for trial in snapshot.running[:MAX_RUNNING]:
            accuracy = "" if trial.accuracy is None else f"{trial.accuracy:.3f}"
            table.add_row(
                _label(trial.label), str(trial.point), str(trial.seed), f"{trial.step}/{trial.max_steps}", accuracy
            )
        if len(snapshot.running) > MAX_RUNNING:
            table.add_row(f"and {len(snapshot.running) - MAX_RUNNING} more")
        tables.append(table)
    if snapshot.leaders:
        table = _table("best so far", "lr", "seed", "steps", "validation")
        for best in snapshot.leaders[:NUM_SHOWN_LEADERS]:
            accuracy = f"{best.validation_accuracy or 0.0:.3f}" + (" solved" if best.solved else "")
            table.add_row(_label(best.label), str(best.point), str(best.seed), str(best.steps), accuracy)
        tables.append(table)
    return Group(*tables)


def _label(text: str) -> Text:
    """Return the label of a cell, which is cut first if a line has no room for all columns."""
    return Text(text, no_wrap=True, overflow="ellipsis")


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column(first)
    for other in others:
        table.add_column(other, justify="right", no_wrap=True)
    return table
