"""Slurm, through the text output of its commands, in the form that version 22.05 prints and later ones keep."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bilin.errors import ClusterError

ANSWER_S = 30.0  # how long Slurm may take to answer a question

COMMANDS = ("sbatch", "scancel", "scontrol", "srun")

GONE = "GONE"  # state of a job that Slurm no longer knows: it forgets a job some minutes after its end

OVER = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")
) | {"REVOKED", "TIMEOUT", GONE}
"""Slurm's words for a job that neither runs nor waits."""

WARNING_SIGNAL = signal.SIGUSR1  # which `#SBATCH --signal` sends before the time limit

_KEPT = ("SLURM_CONF", "SLURM_JWT")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """What Slurm says about a job.

    Attributes:
        state: Slurm's word, such as ``PENDING``, or `GONE`.
        name: Its name, such as ``bilin-ranks``; empty if Slurm does not know the job.
        reason: Why it waits or ended; empty if Slurm gives no reason.
        nodes: Where it runs, such as ``node[1-2]``.
        started_at: When it began or is expected to begin; empty if unknown.
        exit_code: What the job ended with.
        restarts: How often it was requeued.
        log: Where its output goes.
        left_s: Seconds that are left of its time limit, by the clock of Slurm's controller; None without a limit.
        is_preempted: Whether another job takes its place.
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
        """Whether it neither runs nor waits."""
        return self.state in OVER

    @property
    def is_to_make_room(self) -> bool:
        """Whether it has ended, or is about to, because its time is up or another job takes its place.

        Every job that is ending is COMPLETING; the other fields say why.
        """
        return self.is_preempted or self.reason == "TimeLimit" or self.state in ("TIMEOUT", "PREEMPTED")

    def describe(self) -> str:
        """Describe the state of the job, to follow the name of the job in a sentence."""
        word = self.state.lower().replace("_", " ")
        match self.state:
            case "PENDING":
                text = "waits" + (f" ({self.reason})" if self.reason else "")
                text += f", expected to begin at {self.started_at}" if self.started_at else ""
            case "RUNNING":
                text = f"runs on {self.nodes} since {self.started_at}"
            case "COMPLETED":
                text = "has ended"
            case "FAILED":
                text = f"ended with exit code {self.exit_code}"
            case "GONE":
                text = "is over, and Slurm no longer knows it"
            case _ if self.is_over:
                text = f"is over ({word}{f': {self.reason}' if self.reason else ''})"
            case _:
                text = f"is {word}"
        times = "once" if self.restarts == 1 else f"{self.restarts} times"
        return f"{text}, requeued {times}" if self.restarts else text


class Slurm:
    """Slurm's commands on this machine, as found in PATH. Tests have a fake one."""

    def missing(self) -> list[str]:
        """Return the commands that are not on this machine."""
        return [name for name in COMMANDS if shutil.which(name) is None]

    def run(
        self, *command: str, script: str | None = None, timeout_s: float | None = ANSWER_S
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end. Exit code 127: it is not on this machine; 124: it did not answer in time."""
        try:
            return subprocess.run(
                command,
                input=script,
                env=environment_for_jobs(),
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"{command[0]} did not answer within {timeout_s:g} s")
        except OSError as error:
            return subprocess.CompletedProcess(command, 127, "", f"could not run {command[0]}: {error.strerror}")

    def submit(self, script: str, *options: str, log: Path | str) -> str:
        """Submit a batch script with further options of sbatch and return the id of the job.

        In the path of the log, ``%j`` is replaced by the job's id.

        Raises:
            ClusterError: There is no sbatch on this machine, or it refuses the job.
        """
        self.check_sbatch()
        ended = self.run("sbatch", "--parsable", f"--output={log}", *options, script=script, timeout_s=None)
        job_id = ended.stdout.strip().partition(";")[0]
        if ended.returncode or not job_id:
            lines = "\n".join(f"  {line}" for line in ended.stderr.strip().splitlines())
            raise ClusterError(f"sbatch refused the job; nothing was submitted:\n{lines}")
        return job_id

    def check_sbatch(self) -> None:
        """Raise ClusterError if this machine cannot submit jobs."""
        if "sbatch" in self.missing():
            raise ClusterError(
                "there is no sbatch on this machine: launch from a login node of the cluster, or use --cluster local; "
                "--dry-run prints the script, to be submitted elsewhere"
            )

    def status(self, job_id: str) -> JobStatus | None:
        """Return the state of a job; None if Slurm is not on this machine or does not answer."""
        ended = self.run("scontrol", "-o", "show", "job", job_id)
        if ended.returncode:
            return JobStatus(state=GONE) if "Invalid job id" in ended.stderr else None
        return parse_job(ended.stdout)

    def cancel(self, job_id: str, *options: str) -> None:
        """Cancel a job, or signal it if the options of scancel say so. Does nothing if the job is over.

        Raises:
            ClusterError: Slurm refuses.
        """
        ended = self.run("scancel", *options, job_id, timeout_s=None)
        if ended.returncode and not ((status := self.status(job_id)) and status.is_over):
            raise ClusterError(f"Slurm did not cancel job {job_id}: {' '.join(ended.stderr.split())}")

    def requeue(self, job_id: str) -> bool:
        """Send a running job back to the queue; return whether Slurm does so. A process in the job ends."""
        return self.run("scontrol", "requeue", job_id, timeout_s=None).returncode == 0

    def script_of(self, job_id: str) -> str:
        """Return the script that a job was submitted with. Raises ClusterError if Slurm does not give it."""
        ended = self.run("scontrol", "write", "batch_script", job_id, "-")
        if ended.returncode or not ended.stdout.startswith("#!"):
            raise ClusterError(f"Slurm did not give the script of job {job_id}: {ended.stderr.strip()}")
        return ended.stdout

    def hostnames(self, nodes: str) -> list[str]:
        """Return the names in a list of nodes such as ``node[1-2]``. Raises ClusterError if Slurm does not answer."""
        return self._answer("scontrol", "show", "hostnames", nodes).split()

    def node_address(self, name: str) -> str:
        """Return the address of a node. Raises ClusterError if Slurm does not answer."""
        shown = parse_lines(self._answer("scontrol", "-o", "show", "node", name), "NodeName")
        return shown.get(name, {}).get("NodeAddr", name)

    def start_step(self, options: Iterable[str], command: Iterable[str], **popen: Any) -> subprocess.Popen[str]:
        """Start a command on nodes with srun. Raises ClusterError if there is no srun on this machine."""
        shared = ["--ntasks-per-node=1", "--no-kill", "--kill-on-bad-exit=0", "--export=ALL"]
        argv = ["srun", *options, *shared, *command]
        try:
            return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, **popen)
        except OSError as error:
            raise ClusterError(f"could not run srun: {error.strerror}; is Slurm's folder missing from PATH?") from error

    def _answer(self, *command: str) -> str:
        ended = self.run(*command)
        if ended.returncode:
            raise ClusterError(f"{' '.join(command)}: {ended.stderr.strip()}")
        return ended.stdout


SLURM = Slurm()


def environment_for_jobs() -> dict[str, str]:
    """Return the environment without what Slurm set for the job of this process: a new job must not inherit it."""
    return {name: value for name, value in os.environ.items() if name in _KEPT or not name.startswith("SLURM_")}


def parse_lines(text: str, key: str) -> dict[str, Mapping[str, str]]:
    """Return what ``scontrol -o show`` prints of partitions or nodes, by the value of a key."""
    lines = [dict(re.findall(r"(?:^|\s)(\w+)=(\S*)", line)) for line in text.splitlines()]
    return {line[key]: line for line in lines if key in line}


def parse_job(line: str) -> JobStatus | None:
    """Return what a line of ``scontrol -o show job`` says; None if the line is something else."""
    words = re.findall(r"(?:^|\s)(\w+)=(\S*)", line)
    # The first of equal names counts: paths and comments, which may contain any text, come later.
    values = {name: "" if value in ("(null)", "None", "Unknown", "N/A") else value for name, value in reversed(words)}
    if "JobState" not in values:
        return None
    try:
        left_s = float(max(seconds(values.get("TimeLimit", "")) - seconds(values.get("RunTime", "")), 0))
    except ValueError:  # no limit, or none yet
        left_s = None
    log = re.search(r"\sStdOut=(.*?)(?=\s\w+=|\s*$)", line)  # may contain spaces
    return JobStatus(
        state=values["JobState"],
        name=values.get("JobName", ""),
        reason=values.get("Reason", ""),
        nodes=values.get("NodeList", ""),
        started_at=values.get("StartTime", ""),
        exit_code=int(values.get("ExitCode", "0").partition(":")[0] or 0),
        restarts=int(values.get("Restarts", "0") or 0),
        log=log.group(1) if log else "",
        left_s=left_s,
        is_preempted=bool(values.get("PreemptTime")),
    )


def seconds(time: str) -> int:
    """Return the seconds of a time limit as Slurm reads it: 90 is minutes, 1-12 is days and hours."""
    days, dash, rest = time.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    units = (3600, 60, 1) if dash or len(parts) == 3 else (60, 1)
    return int(days or 0) * 86400 + sum(part * unit for part, unit in zip(parts, units, strict=False))


def megabytes(memory: str) -> int:
    """Return the memory of a node as Slurm reads it, in units of 2²⁰ bytes."""
    scale = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
    return int(int(memory.rstrip("KMGTkmgt")) * scale.get(memory[-1].upper(), 1))
