"""A launch in the background: a process in a session of its own, which the end of the terminal does not reach."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bilin.orchestrator.clusters.slurm.job import JOBS
from bilin.orchestrator.running.activity import read_activity
from bilin.orchestrator.running.signals import INTERRUPTS
from bilin.results import DEFAULT_STORE, sweep_directory

_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """A launch that was started in the background.

    Attributes:
        exit_code: What it ended with, where it ended before it was seen to run.
        log: Where its output goes.
    """

    sweep: str
    directory: Path
    pid: int
    exit_code: int | None
    log: Path


def detach(command: Sequence[str], *, sweep: str, store: Path | str = DEFAULT_STORE) -> Detached:
    """Run a command that launches a sweep in the background; returns when the sweep runs, or has ended.

    Args:
        command: The program and its arguments.
        sweep: The sweep that it launches.
        store: Directory of the store.

    Raises:
        StoreError: The store is not a directory.
        OSError: The sweep's folder cannot be written.
    """
    directory = sweep_directory(store, sweep)
    log = _log(directory)
    with log.open("xb") as file:
        process = _start(command, file.fileno())
    with suppress(KeyboardInterrupt):  # it goes on, and how to end it is said
        while process.poll() is None and not _runs(directory, process.pid):
            time.sleep(_LOOK_S)
    return Detached(sweep=sweep, directory=directory, pid=process.pid, exit_code=process.poll(), log=log)


def own_command(*, without: str) -> list[str]:
    """What this process was started with, but for one word."""
    return [sys.executable, *(word for word in sys.orig_argv[1:] if word != without)]


def _start(command: Sequence[str], output: int) -> subprocess.Popen[bytes]:
    for number in INTERRUPTS:  # one that is ignored here would be ignored there, and the sweep could not be ended
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)


def _log(directory: Path) -> Path:
    folder = directory / JOBS
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    names = (f"{now}{suffix}.log" for suffix in ("", *(f"-{count}" for count in range(2, 1000))))
    return next(path for name in names if not (path := folder / name).exists())


def _runs(directory: Path, pid: int) -> bool:
    """Whether a process has brought up what its trials run on."""
    activity = read_activity(directory)
    return activity is not None and activity.pid == pid
