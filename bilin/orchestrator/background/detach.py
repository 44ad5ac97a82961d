"""A launch in the background: a local process in its own session, or a job of a Ray cluster.

Both get the request as JSON on standard input, and outlive the terminal.
"""

from __future__ import annotations

import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bilin.errors import ClusterError
from bilin.folder import SweepFolder, missing_folders, remove_empty
from bilin.orchestrator.request import LaunchRequest
from bilin.orchestrator.sweep.launch import INTERRUPTS
from bilin.orchestrator.sweep.snapshot import read_snapshot
from bilin.results import RAY_JOB, holder
from bilin.results.store.durable import explained

_LOOK_S = 0.1
_ASK_RAY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """A launch that was started in the background.

    Attributes:
        exit_code: Its exit code if it ended before it was seen to run; None if it runs.
        log: Where its output goes.
        output: Its output, if it has ended.
    """

    sweep: str
    directory: Path
    pid: int
    exit_code: int | None
    log: Path
    output: str = ""


def detach(request: LaunchRequest) -> Detached:
    """Launch a sweep in the background; return when it runs, or has ended.

    Raises:
        StoreError: The store is not a directory, or cannot be written.
        OSError: The log cannot be written.
    """
    folder = request.folder
    made = missing_folders(folder.jobs)
    with explained(folder.path, "written"):
        folder.jobs.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    names = (f"{now}{suffix}" for suffix in ("", *(f"-{count}" for count in range(2, 1000))))
    log = next(path for name in names if not (path := folder.job_log(name)).exists())
    for number in INTERRUPTS:  # a signal that is ignored here would be ignored there, and could not end the sweep
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    command = [sys.executable, "-P", "-m", "bilin", "sweep", "launch", "-"]
    with log.open("xb") as output, tempfile.TemporaryFile() as source:
        source.write(request.to_json().encode())
        source.seek(0)
        process = subprocess.Popen(command, stdin=source, stdout=output, stderr=output, start_new_session=True)
    with suppress(KeyboardInterrupt):  # the sweep goes on; the command says how to end it
        while process.poll() is None and not _runs(folder, process.pid):
            time.sleep(_LOOK_S)
    exit_code, text = process.poll(), ""
    if exit_code is not None:
        text = log.read_text(errors="replace")
        _remove_unused(folder, made, log)
    return Detached(
        sweep=folder.name, directory=folder.path, pid=process.pid, exit_code=exit_code, log=log, output=text
    )


def _remove_unused(folder: SweepFolder, made: Iterable[Path], *files: Path) -> None:
    """Remove what was made for a launch that could not start."""
    if not folder.grid.exists():
        for file in files:
            file.unlink(missing_ok=True)
        remove_empty(made)


def _runs(folder: SweepFolder, pid: int) -> bool:
    """Return whether a process has brought up its workers."""
    snapshot = read_snapshot(folder)
    return snapshot is not None and snapshot.pid == pid


@dataclass(frozen=True, slots=True, kw_only=True)
class RayJob:
    """A sweep that runs as a Ray job.

    Attributes:
        log: Where its output goes.
    """

    sweep: str
    directory: Path
    job_id: str
    log: Path


def submit_job(request: LaunchRequest) -> RayJob:
    """Submit a launch as a job of the Ray at the request's address; return when the sweep runs.

    Raises:
        ClusterError: The job cannot be submitted, or ended before the sweep ran; the message has its output.
    """
    from bilin.orchestrator.clusters import jobs

    address, folder = request.cluster.address or "auto", request.folder
    made = missing_folders(folder.jobs)
    with explained(folder.path, "written"):
        folder.jobs.mkdir(parents=True, exist_ok=True)
    job_id = f"bilin-{folder.name}-{secrets.token_hex(4)}"
    source, log = folder.job_request(job_id).absolute(), folder.job_log(job_id).absolute()
    source.write_text(replace(request, cluster=replace(request.cluster, address="auto")).to_json())
    # This Python, if the head has it too, as in a shared environment.
    command = (
        f'PY={shlex.quote(sys.executable)}; [ -x "$PY" ] || PY=python; exec "$PY" -m bilin sweep launch - '
        f"< {shlex.quote(str(source))} > {shlex.quote(str(log))} 2>&1"
    )
    try:
        jobs.submit(address, command, job_id=job_id, environment={RAY_JOB: f"{job_id}@{address}"})
    except ClusterError:
        source.unlink()
        _remove_unused(folder, made)
        raise
    while not (
        (process := holder(folder.store, folder.name))
        and process.ray_job.startswith(f"{job_id}@")
        and _runs(folder, process.pid)
    ):
        if jobs.state(address, job_id) in jobs.OVER:
            text = log.read_text(errors="replace").strip() if log.exists() else ""
            _remove_unused(folder, made, source, log)
            raise ClusterError(f"Ray job {job_id} ended early: {text}\n{jobs.output(address, job_id)}".rstrip())
        time.sleep(_ASK_RAY_S)
    return RayJob(sweep=folder.name, directory=folder.path, job_id=job_id, log=log)
