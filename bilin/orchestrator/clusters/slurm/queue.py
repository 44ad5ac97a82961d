"""What is asked of Slurm from outside a job: take this script, and how does that job stand.

By its commands' text output alone, which Slurm 22.05 has as well as later ones.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bilin.errors import ClusterError
from bilin.orchestrator.grid import seconds

ANSWER_S = 20.0
"""How long Slurm may take to say how a job stands; without an answer the store speaks alone."""

GONE = "GONE"
"""The state of a job that Slurm no longer knows: some minutes after its end it forgets it."""

OVER = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")
) | {"REVOKED", "TIMEOUT", GONE}
"""Slurm's words for a job that runs no more and does not wait."""


_OURS = ("SLURM_CONF",)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """What Slurm says of a job.

    Attributes:
        state: Slurm's word, such as ``PENDING``, or `GONE`.
        name: What it is called, such as ``bilin-ranks``; empty where Slurm does not know it.
        reason: Why it waits, or ended; empty where Slurm gives none.
        nodes: Where it runs, such as ``node[1-2]``; empty where nowhere.
        started_at: When it began, or may begin; empty where that is not known.
        exit_code: What the job ended with.
        restarts: How often it was requeued.
        log: Where its output goes.
        left_s: Seconds of its time that were left when Slurm was asked, by Slurm's clock; None where nothing limits it.
        is_preempted: Whether it was told to make room for another.
    """

    state: str
    name: str = ""
    reason: str = ""
    nodes: str = ""
    started_at: str = ""
    exit_code: int = 0
    restarts: int = 0
    log: str = ""
    left_s: float | None = None
    is_preempted: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it runs no more and does not wait."""
        return self.state in OVER

    @property
    def is_to_make_room(self) -> bool:
        """Whether it has ended, or is about to, because its time is up or another needs its place.

        While its processes end, all that ends is COMPLETING: what else is said tells one from another.
        """
        return self.is_preempted or self.reason == "TimeLimit" or self.state in ("TIMEOUT", "PREEMPTED")


def submit(script: str, log: Path | str, *options: str) -> str:
    """Hand a script to sbatch; the id of the job.

    Args:
        script: The batch script.
        log: Where its output goes; ``%j`` stands for the job's id.
        options: More of sbatch's own.

    Raises:
        ClusterError: There is no sbatch here, or it refuses.
    """
    check_sbatch()
    command = ["sbatch", "--parsable", f"--output={log}", *options]
    ended = subprocess.run(command, input=script, env=own_environment(), capture_output=True, text=True, check=False)
    job_id = ended.stdout.strip().partition(";")[0]
    if ended.returncode or not job_id:
        said = "\n".join(f"  {line}" for line in ended.stderr.strip().splitlines())
        raise ClusterError(f"sbatch refused the job; nothing was submitted:\n{said}")
    return job_id


def own_environment() -> dict[str, str]:
    """The environment for a new job: what Slurm told the one that this is in must not seem set by the user."""
    return {name: value for name, value in os.environ.items() if name in _OURS or not name.startswith("SLURM_")}


def requeue(job_id: str) -> bool:
    """Send a job that runs back to the queue, which ends this process if it is part of it; whether Slurm does."""
    ended = subprocess.run(["scontrol", "requeue", job_id], capture_output=True, check=False)
    return ended.returncode == 0


def cancel_job(job_id: str, *options: str) -> None:
    """Have Slurm end a job, or signal it where the options of scancel say so; nothing where it is over.

    Raises:
        ClusterError: Slurm refuses; the message has its words.
    """
    ended = subprocess.run(["scancel", *options, job_id], capture_output=True, text=True, check=False)
    if ended.returncode and not ((status := ask(job_id)) and status.is_over):
        raise ClusterError(f"Slurm does not end job {job_id}: {' '.join(ended.stderr.split())}")


def script_of(job_id: str) -> str:
    """The script that a job was submitted with. Raises ClusterError where Slurm does not give it."""
    command = ["scontrol", "write", "batch_script", job_id, "-"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode or not ended.stdout.startswith("#!"):
        raise ClusterError(f"Slurm does not give the script of job {job_id}: {ended.stderr.strip()}")
    return ended.stdout


def check_sbatch() -> None:
    """Raise where this machine cannot submit jobs."""
    if shutil.which("sbatch") is None:
        raise ClusterError(
            "there is no sbatch on this machine: launch from a login node of the cluster, or use --cluster local; "
            "--dry-run prints the script, which sbatch takes elsewhere"
        )


def ask(job_id: str) -> JobStatus | None:
    """How a job stands; None where Slurm is not to be asked: it is not here, or does not answer."""
    if shutil.which("scontrol") is None:
        return None
    try:
        ended = subprocess.run(
            ["scontrol", "-o", "show", "job", job_id], capture_output=True, text=True, check=False, timeout=ANSWER_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if ended.returncode:
        return JobStatus(state=GONE) if "Invalid job id" in ended.stderr else None
    return read_job(ended.stdout)


def read_job(line: str) -> JobStatus | None:
    """What a line of ``scontrol -o show job`` says; None where it is something else."""
    words = re.findall(r"(?:^|\s)(\w+)=(\S*)", line)
    found = {name: _known(value) for name, value in reversed(words)}  # the first counts: paths and comments come later
    if "JobState" not in found:
        return None
    return JobStatus(
        state=found["JobState"],
        name=found.get("JobName", ""),
        reason=found.get("Reason", ""),
        nodes=found.get("NodeList", ""),
        started_at=found.get("StartTime", ""),
        exit_code=int(found.get("ExitCode", "0").partition(":")[0] or 0),
        restarts=int(found.get("Restarts", "0") or 0),
        log=_path(line),
        left_s=_left(found.get("TimeLimit", ""), found.get("RunTime", "")),
        is_preempted=bool(found.get("PreemptTime")),
    )


def _known(value: str) -> str:
    return "" if value in ("(null)", "None", "Unknown", "N/A") else value


def _left(limit: str, run: str) -> float | None:
    """What a job has left of its time: both are times of Slurm's controller, so no clock here matters."""
    try:
        return float(max(seconds(limit) - seconds(run), 0))
    except ValueError:  # it has no limit, or none yet
        return None


def _path(line: str) -> str:
    """The path of the output, which may have spaces."""
    match = re.search(r"\sStdOut=(.*?)(?=\s\w+=|\s*$)", line)
    return match.group(1) if match else ""
