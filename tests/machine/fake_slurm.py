"""A Slurm in memory: for the logic around jobs, without a scheduler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from bilin.errors import ClusterError
from bilin.machine.slurm import GONE, JobStatus, Slurm


@dataclass
class FakeSlurm(Slurm):
    """Jobs by their ids.

    Attributes:
        answers: Whether it is asked on a machine of the cluster.
        can_requeue: Whether jobs may go back to the queue.
        refuses: Why it takes no jobs; empty: it takes them.
        on_signal: Called with the id of a job whose batch process is signalled.
    """

    answers: bool = True
    can_requeue: bool = True
    refuses: str = ""
    on_signal: Callable[[str], None] = lambda job_id: None
    jobs: dict[str, JobStatus] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)

    def missing(self) -> list[str]:
        return []

    def submit(self, script: str, *options: str, log: Path | str) -> str:
        if self.refuses:
            raise ClusterError(self.refuses)
        job_id = str(len(self.jobs) + 1)
        self.jobs[job_id] = JobStatus(state="PENDING", log=str(log).replace("%j", job_id))
        self.scripts[job_id], self.options[job_id] = script, options
        return job_id

    def begin(self, job_id: str) -> None:
        """Let a job run."""
        self.jobs[job_id] = replace(self.jobs[job_id], state="RUNNING")

    def end(self, job_id: str, state: str = "COMPLETED") -> None:
        """Let a job end."""
        self.jobs[job_id] = replace(self.jobs[job_id], state=state)

    def status(self, job_id: str) -> JobStatus | None:
        return self.jobs.get(job_id, JobStatus(state=GONE)) if self.answers else None

    def cancel(self, job_id: str, *options: str) -> None:
        if options:
            self.on_signal(job_id)
        else:
            self.cancelled.append(job_id)
            self.end(job_id, "CANCELLED")

    def requeue(self, job_id: str) -> bool:
        if self.can_requeue:
            self.jobs[job_id] = replace(self.jobs[job_id], state="PENDING", restarts=self.jobs[job_id].restarts + 1)
        return self.can_requeue

    def script_of(self, job_id: str) -> str:
        return self.scripts[job_id]

    def hostnames(self, nodes: str) -> list[str]:
        return nodes.split(",")

    def node_address(self, name: str) -> str:
        return "127.0.0.1"
