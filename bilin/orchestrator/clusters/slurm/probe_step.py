"""Asks the nodes that a job would get, or those of the job of this process, with one short srun."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace

from bilin.machine.probe import ANSWER_S
from bilin.machine.slurm import SLURM, Slurm, seconds
from bilin.orchestrator.clusters.inquiry import Answers, Finding, Questions, command, last_error, read
from bilin.orchestrator.clusters.slurm.script import extra_options, shared_options
from bilin.orchestrator.grid import ClusterSettings
from bilin.units import plural

PLACE = "Slurm"  # place of a finding about Slurm or about all nodes of a job
START_S = 60.0  # how long the set-up commands and Python may take on a node
STEP_MINUTES = 10  # time limit of the step, if that of the job is longer: Slurm finds a place for a short one sooner

NOT_OF_SRUN = frozenset(
    "array a requeue no-requeue output o error e input i wrap signal hold".split()  # noqa: SIM905
)
"""Options of sbatch that srun does not have, or that would change its output."""

BUSY = (
    "Requested nodes are busy",
    "Required node not available",
    "partition configuration not available",
    "Resources temporarily unavailable",
    "Connection timed out",
)
"""Messages of srun if the queue has no place for it in time."""


def ask_job(
    settings: ClusterSettings, questions: Questions, *, wait_s: float, slurm: Slurm = SLURM
) -> tuple[Finding, dict[str, Answers]]:
    """Ask the nodes of the job that this process is in; outside of a job, those that a job with these settings gets.

    It waits at least 2 s for nodes: srun takes 1 as a switch.

    Returns:
        Whether all nodes answer, and the answers of each node, by its number.

    Raises:
        ClusterError: There is no srun on this machine.
    """
    in_job = "SLURM_JOB_ID" in os.environ
    options = ["--overlap"] if in_job else [*_options(settings), f"--immediate={max(int(wait_s), 2)}"]
    script = "\n".join([*settings.setup, 'exec "$@"'])
    argv = ["bash", "-c", script, "bash", *command(settings.python or sys.executable, questions)]
    answers: dict[str, Answers] = {}
    with tempfile.TemporaryFile("w+") as errors:
        with slurm.start_step(options, argv, stdin=subprocess.DEVNULL, stderr=errors.fileno()) as step:
            limit = threading.Timer(START_S + ANSWER_S + wait_s, step.terminate)
            limit.start()
            try:
                assert step.stdout is not None
                read(step.stdout, answers)
            except BaseException:
                step.terminate()  # Slurm ends its processes
                raise
            finally:
                limit.cancel()
        errors.seek(0)
        lines = [line for line in errors.read().splitlines() if "lacks support for cpu binding" not in line]
    num_nodes = max((node.facts.get("num_nodes", 0) for node in answers.values()), default=0)
    if not step.returncode and len(answers) >= num_nodes:
        return Finding("ok", PLACE, "nodes", f"{plural(len(answers), 'node')} asked"), dict(sorted(answers.items()))
    error = " ".join(" ".join(map(last_error, lines[-4:])).split())
    if not answers and any(text in error for text in BUSY):
        found = f"Slurm granted no nodes within {wait_s:g} s, so none was checked"
        advice = "wait longer with --wait SECONDS, or try again later"
        return Finding("warning", PLACE, "nodes", found, advice), {}
    found = f"{len(answers)} of {num_nodes or settings.nodes} nodes answer: {error}"
    advice = "check that cluster.python and cluster.setup work on the nodes"
    return Finding("error", PLACE, "nodes", found, advice), dict(sorted(answers.items()))


def _options(settings: ClusterSettings) -> Iterator[str]:
    """Yield the options of a step outside of a job: those of the job, with a shorter time limit."""
    short = settings.time is None or seconds(settings.time) > STEP_MINUTES * 60
    yield f"--nodes={settings.min_nodes}-{settings.max_nodes}"
    yield "--job-name=bilin-doctor"
    yield from shared_options(replace(settings, time=str(STEP_MINUTES)) if short else settings)
    for line in extra_options(settings):
        words = shlex.split(line)  # as sbatch splits it: `-C gpu` is two words
        if words[0].lstrip("-").partition("=")[0] not in NOT_OF_SRUN:
            yield from words
