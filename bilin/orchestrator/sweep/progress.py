"""What a launch from Python shows while it runs: its counts on one line, and each failure.

The command line has its own display, in colours and with more lines.
"""

from __future__ import annotations

import html
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

from bilin.notebook import Output, in_notebook
from bilin.orchestrator.sweep.snapshot import MAX_NOTES, Observer, Snapshot
from bilin.units import duration, plural

LINE_S = 10.0
"""How often the counts are printed where a line cannot be replaced."""

REDRAW_S = 0.25


def progress_line(snapshot: Snapshot) -> str:
    """Return one line: how many trials are done, run, failed and wait."""
    parts = [f"{snapshot.sweep}: {snapshot.num_done} done", f"{len(snapshot.running)} running{in_packs(snapshot)}"]
    if num_failed := snapshot.num_failed + snapshot.num_unfinished:
        parts.append(f"{num_failed} failed")
    parts.append(f"{snapshot.num_left - len(snapshot.running)} to go")
    if snapshot.seconds_left is not None and snapshot.num_left:
        about = "at most" if snapshot.may_end_early else "about"
        speed = snapshot.trials_per_s
        rate = f"{speed:.1f} trials/s" if speed >= 1 else f"{speed * 60:.1f} trials/min"
        parts.append(f"{rate}, {about} {duration(snapshot.seconds_left)} left")
    if snapshot.running and snapshot.steps_per_s:
        parts.append(f"{snapshot.steps_per_s:.3g} steps/s")
    return " · ".join(parts)


def in_packs(snapshot: Snapshot) -> str:
    """Return in how many packs trials run, and on how many GPUs; an empty string if each is alone on the CPU."""
    packs = f" in {plural(snapshot.num_packs, 'pack')}" if snapshot.num_packs < len(snapshot.running) else ""
    return packs + (f" on {plural(snapshot.num_gpus, 'GPU')}" if snapshot.num_gpus else "")


def progress_line_with_step(snapshot: Snapshot) -> str:
    """Return the line of `progress_line`, and until a trial has ended the step of one that runs."""
    if snapshot.num_ended or not snapshot.running:
        return progress_line(snapshot)
    first = max(snapshot.running, key=lambda trial: trial.step)
    return f"{progress_line(snapshot)} · {first.label}: step {first.step} of {first.max_steps}"


class Notes:
    """Tells which notes of a sweep have not been shown yet."""

    def __init__(self) -> None:
        self._started_at = 0.0
        self._num_shown = 0

    def new(self, snapshot: Snapshot) -> list[str]:
        """Return the notes that came since the last call; a snapshot has only the latest ones."""
        if snapshot.started_at != self._started_at:  # of another launch
            self._started_at, self._num_shown = snapshot.started_at, 0
        num_new = snapshot.num_notes - self._num_shown
        self._num_shown = snapshot.num_notes
        num_left_out = num_new - len(snapshot.notes)
        left_out = [f"({num_left_out} more failures and lost workers are not shown)"] if num_left_out > 0 else []
        return [*left_out, *snapshot.notes[-num_new:]] if num_new > 0 else []


@contextmanager
def shown_progress(show: bool | None, sweep: str, num_to_run: int) -> Iterator[tuple[Observer, ...]]:
    """Show a launch while it runs, if it has something to run.

    Args:
        show: Whether to show it; None if standard error is a terminal or this is a notebook.
        sweep: The sweep.
        num_to_run: How many trials are to run.

    Yields:
        The observers that the sweep needs for this: one or none.
    """
    stream = sys.stderr  # that of now: while a trial runs in this process, sys.stderr is a copy
    is_terminal = _is_terminal(stream)
    is_shown = (is_terminal or in_notebook()) if show is None else show
    if not (num_to_run and is_shown):
        yield ()
        return
    progress = _NotebookBar() if in_notebook() else _TerminalLine(stream) if is_terminal else Lines(stream)
    progress.draw(f"{sweep}: {num_to_run} to go, starting")
    try:
        yield (progress,)
    finally:
        progress.close()


def _is_terminal(stream: TextIO | None) -> bool:
    with suppress(OSError, ValueError):  # a stream that is closed
        return bool(stream and stream.isatty())
    return False


class _Progress(ABC):
    """An observer that shows snapshots. Its errors never reach the sweep."""

    _period_s = REDRAW_S
    _share = 0.0  # of the trials, that have ended

    def __init__(self) -> None:
        self._notes = Notes()
        self._drawn_at = -LINE_S

    def __call__(self, snapshot: Snapshot) -> None:
        """Show the counts if it is time, and every note that is new."""
        notes = self._notes.new(snapshot)
        is_due = time.monotonic() - self._drawn_at >= self._period_s or not snapshot.num_left
        if notes or is_due:
            self._drawn_at = time.monotonic()
            self._share = 1 - snapshot.num_left / max(snapshot.num_total, 1)
            self.draw(progress_line_with_step(snapshot), notes)

    @abstractmethod
    def draw(self, line: str, notes: Sequence[str] = ()) -> None:
        """Show a line, and the notes that are new."""

    @abstractmethod
    def close(self) -> None:
        """Leave the last state visible."""


class Lines(_Progress):
    """A line at most every `LINE_S`, if it has changed, for a file or a pipe."""

    _period_s = LINE_S

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._last = ""

    def draw(self, line: str, notes: Sequence[str] = ()) -> None:
        """Write the notes, and the line."""
        if notes or line != self._last:
            self._last = line
            self._write("".join(f"{text}\n" for text in [*notes, line]))

    def wait(self, line: str) -> None:
        """Write what the sweep waits for."""
        self.draw(line)

    def close(self) -> None:
        """Do nothing: what was written stays."""

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError, AttributeError):  # a stream that is full, closed or None
            self._stream.write(text)
            self._stream.flush()


class _TerminalLine(Lines):
    """One line that is replaced, with the notes above it."""

    _period_s = REDRAW_S

    def draw(self, line: str, notes: Sequence[str] = ()) -> None:
        width = shutil.get_terminal_size().columns - 1
        above = "".join(f"{note}\n" for note in notes)
        self._write(f"\r\x1b[K{above}{line[:width]}")

    def close(self) -> None:
        self._write("\n")


class _NotebookBar(_Progress):
    """A bar with the counts in the output of a notebook's cell, and the latest notes below it."""

    def __init__(self) -> None:
        super().__init__()
        self._output = Output()
        self._latest: list[str] = []

    def draw(self, line: str, notes: Sequence[str] = ()) -> None:
        self._latest = [*self._latest, *notes][-MAX_NOTES:]
        bar = f'<progress value="{self._share:.4f}" max="1" style="width: 20em"></progress> {html.escape(line)}'
        below = f"<pre>{html.escape(chr(10).join(self._latest))}</pre>" if self._latest else ""
        with suppress(Exception):  # whatever the notebook's server does, the sweep goes on
            self._output.show("\n".join([line, *self._latest]), bar + below)

    def close(self) -> None:
        pass
