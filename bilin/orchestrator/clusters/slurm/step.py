"""Asks the nodes that a job would have: one short srun over them, or over those of the job that this is part of."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bilin.errors import ClusterError
from bilin.orchestrator.clusters.inquiry.answers import ANSWER_S, SAFE, Answers, Questions, command, read
from bilin.orchestrator.clusters.slurm.script import extra, place
from bilin.orchestrator.grid import ClusterSettings, seconds

STEP_MINUTES = 10
"""Time limit of the step, where that of the job is longer: Slurm has a gap for a short one sooner."""

NOT_OF_SRUN = (
    "array",
    "a",
    "requeue",
    "no-requeue",
    "output",
    "o",
    "error",
    "e",
    "input",
    "i",
    "wrap",
    "signal",
    "hold",
)
"""Options of sbatch that srun does not have, or that would change what is read of it."""

BUSY = (
    "Requested nodes are busy",
    "Required node not available",
    "partition configuration not available",
    "Resources temporarily unavailable",
    "Connection timed out",
)
"""What srun says where the queue has no place for it in its time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a step.

    Attributes:
        answers: What each node said, by its number.
        said: What srun had to say of errors, in its last lines.
        is_waiting: Whether the queue had no place in time.
    """

    answers: dict[str, Answers]
    said: str
    is_waiting: bool


def ask(settings: ClusterSettings, questions: Questions, *, wait_s: float) -> Asked:
    """Ask the nodes of the job that this process is in; outside of one, those that a job of these settings gets.

    Args:
        settings: What the job would ask for.
        questions: What to ask each.
        wait_s: How long to wait for nodes; 2 at least, since 1 means something else to srun.

    Raises:
        ClusterError: There is no srun here.
    """
    in_job = "SLURM_JOB_ID" in os.environ
    options = ["--overlap"] if in_job else [*_options(settings), f"--immediate={max(int(wait_s), 2)}"]
    shared = ["--ntasks-per-node=1", "--no-kill", "--kill-on-bad-exit=0", "--export=ALL"]
    script = "\n".join([*settings.setup, 'exec "$@"'])
    words = ["bash", "-c", script, "bash", *command(settings.python or sys.executable, questions)]
    answers: dict[str, Answers] = {}
    with tempfile.TemporaryFile("w+") as errors:
        code = _run(["srun", *options, *shared, *words], answers, errors.fileno(), ANSWER_S + (0 if in_job else wait_s))
        errors.seek(0)
        lines = [line for line in errors.read().splitlines() if "lacks support for cpu binding" not in line]
    said = "\n".join(lines[-4:])
    is_waiting = bool(code) and not answers and any(words in said for words in BUSY)
    return Asked(answers, said if code else "", is_waiting)


def _run(words: list[str], answers: dict[str, Answers], errors: int, limit_s: float) -> int:
    """The exit code of srun; answers are taken as they come."""
    try:
        step = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **SAFE},
        )
    except OSError as error:
        raise ClusterError(f"srun cannot be run: {error.strerror}") from error
    limit = threading.Timer(limit_s, step.terminate)
    limit.start()
    with step:
        try:
            assert step.stdout is not None
            read(step.stdout, answers)
        except BaseException:
            step.terminate()  # Slurm ends its tasks
            raise
        finally:
            limit.cancel()
    return step.returncode


def _options(settings: ClusterSettings) -> Iterator[str]:
    """What the step asks for by itself: what the job would, for a shorter time."""
    short = settings.time is None or seconds(settings.time) > STEP_MINUTES * 60
    yield f"--nodes={settings.min_nodes}-{settings.max_nodes}"
    yield "--job-name=bilin-doctor"
    yield from place(replace(settings, time=str(STEP_MINUTES)) if short else settings)
    for line in extra(settings):
        words = shlex.split(line)  # sbatch takes a line apart as well: `-C gpu` are two words
        if words[0].lstrip("-").partition("=")[0] not in NOT_OF_SRUN:
            yield from words
