"""Questions to the nodes that a job would get, or to those of the job of this process, by one short srun."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bilin.machine.slurm import SLURM, Slurm, seconds
from bilin.orchestrator.clusters.inquiry import ANSWER_S, Answers, Questions, command, last_error, read
from bilin.orchestrator.clusters.slurm.script import extra, place
from bilin.orchestrator.grid import ClusterSettings

STEP_MINUTES = 10  # time limit of the step, if that of the job is longer: Slurm finds a place for a short one sooner

NOT_OF_SRUN = frozenset(
    "array a requeue no-requeue output o error e input i wrap signal hold".split()  # noqa: SIM905
)
"""Options of sbatch that srun does not have, or that would change what is read of it."""

BUSY = (
    "Requested nodes are busy",
    "Required node not available",
    "partition configuration not available",
    "Resources temporarily unavailable",
    "Connection timed out",
)
"""Messages of srun if the queue has no place for it in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAnswers:
    """What came of a step.

    Attributes:
        answers: The answers of each node, by its number.
        error: The last lines of srun's errors; empty if it succeeded.
        is_waiting: Whether the queue had no place in time.
    """

    answers: dict[str, Answers]
    error: str
    is_waiting: bool


def ask_job(settings: ClusterSettings, questions: Questions, *, wait_s: float, slurm: Slurm = SLURM) -> StepAnswers:
    """Ask the nodes of the job that this process is in; outside of a job, those that a job with these settings gets.

    It waits at least 2 s for nodes: 1 has another meaning for srun.

    Raises:
        ClusterError: There is no srun on this machine.
    """
    in_job = "SLURM_JOB_ID" in os.environ
    options = ["--overlap"] if in_job else [*_options(settings), f"--immediate={max(int(wait_s), 2)}"]
    script = "\n".join([*settings.setup, 'exec "$@"'])
    words = ["bash", "-c", script, "bash", *command(settings.python or sys.executable, questions)]
    answers: dict[str, Answers] = {}
    with tempfile.TemporaryFile("w+") as errors:
        step = slurm.start_step(options, words, stdin=subprocess.DEVNULL, stderr=errors.fileno())
        code = _read(step, answers, ANSWER_S + (0 if in_job else wait_s))
        errors.seek(0)
        lines = [line for line in errors.read().splitlines() if "lacks support for cpu binding" not in line]
    error = "\n".join(last_error(line) for line in lines[-4:]) if code else ""
    is_waiting = bool(code) and not answers and any(text in error for text in BUSY)
    return StepAnswers(answers=answers, error=error, is_waiting=is_waiting)


def _read(step: subprocess.Popen[str], answers: dict[str, Answers], limit_s: float) -> int:
    """Read answers as they come; return the exit code of srun."""
    limit = threading.Timer(limit_s, step.terminate)
    limit.start()
    with step:
        try:
            assert step.stdout is not None
            read(step.stdout, answers)
        except BaseException:
            step.terminate()  # Slurm ends its processes
            raise
        finally:
            limit.cancel()
    return step.returncode


def _options(settings: ClusterSettings) -> Iterator[str]:
    """Yield what the step asks for by itself: what the job would, for a shorter time."""
    short = settings.time is None or seconds(settings.time) > STEP_MINUTES * 60
    yield f"--nodes={settings.min_nodes}-{settings.max_nodes}"
    yield "--job-name=bilin-doctor"
    yield from place(replace(settings, time=str(STEP_MINUTES)) if short else settings)
    for line in extra(settings):
        words = shlex.split(line)  # as sbatch splits it: `-C gpu` is two words
        if words[0].lstrip("-").partition("=")[0] not in NOT_OF_SRUN:
            yield from words
