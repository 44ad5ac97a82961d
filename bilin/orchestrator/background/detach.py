"""A launch in the background: a process in a session of its own, which the end of the terminal does not reach."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bilin.folder import SweepFolder
from bilin.orchestrator.request import LaunchRequest
from bilin.orchestrator.sweep.signals import INTERRUPTS
from bilin.orchestrator.sweep.snapshot import read_snapshot

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


def detach(request: LaunchRequest) -> Detached:
    """Launch a sweep in the background; return when it runs, or has ended.

    Raises:
        StoreError: The store is not a directory.
        OSError: The sweep's folder cannot be written.
    """
    folder = request.folder
    log = _log(folder)
    with log.open("xb") as output, tempfile.TemporaryFile() as source:
        source.write(request.to_json().encode())
        source.seek(0)
        process = _start(source.fileno(), output.fileno())
    with suppress(KeyboardInterrupt):  # the sweep goes on; the command says how to end it
        while process.poll() is None and not _runs(folder, process.pid):
            time.sleep(_LOOK_S)
    return Detached(sweep=folder.name, directory=folder.path, pid=process.pid, exit_code=process.poll(), log=log)


def _start(source: int, output: int) -> subprocess.Popen[bytes]:
    for number in INTERRUPTS:  # one that is ignored here would be ignored there, and the sweep could not be ended
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    command = [sys.executable, "-P", "-m", "bilin", "sweep", "launch", "-"]
    return subprocess.Popen(command, stdin=source, stdout=output, stderr=output, start_new_session=True)


def _log(folder: SweepFolder) -> Path:
    folder.jobs.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    names = (f"{now}{suffix}.log" for suffix in ("", *(f"-{count}" for count in range(2, 1000))))
    return next(path for name in names if not (path := folder.jobs / name).exists())


def _runs(folder: SweepFolder, pid: int) -> bool:
    """Whether a process has brought up what its trials run on."""
    snapshot = read_snapshot(folder)
    return snapshot is not None and snapshot.pid == pid
