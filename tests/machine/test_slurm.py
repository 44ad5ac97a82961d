"""What Slurm says, in the words of its version 22.05, read and put into ours."""

from __future__ import annotations

import pytest

from bilin.machine.slurm import GONE, JobStatus, parse_job

RUNNING = (
    "JobId=7 JobName=bilin-x UserId=root(0) Priority=4294901757 Account=(null) QOS=(null) JobState=RUNNING "
    "Reason=None Dependency=(null) Requeue=1 Restarts=2 BatchFlag=1 Reboot=0 ExitCode=0:0 RunTime=00:00:31 "
    "TimeLimit=00:10:00 StartTime=2026-01-01T10:00:00 EndTime=2026-01-01T10:10:00 Partition=main "
    "ReqNodeList=(null) ExcNodeList=(null) NodeList=node[1-2] BatchHost=node1 NumNodes=2 Command=(null) "
    "WorkDir=/home/a b StdErr=/home/a b/x JobState=7.log StdIn=/dev/null StdOut=/home/a b/x.log Power= \n"
)
PENDING = (
    "JobId=8 JobState=PENDING Reason=Resources Restarts=0 ExitCode=0:0 StartTime=Unknown NodeList=(null) StdOut=/x"
)


def test_a_line_of_scontrol_is_read() -> None:
    assert parse_job(RUNNING) == JobStatus(
        state="RUNNING",
        name="bilin-x",
        nodes="node[1-2]",
        started_at="2026-01-01T10:00:00",
        restarts=2,
        log="/home/a b/x.log",
        left_s=569.0,
    )
    ending = "JobState=COMPLETING Reason=TimeLimit EndTime=Unknown PreemptTime={} "
    assert parse_job(ending.format("None")) == JobStatus(state="COMPLETING", reason="TimeLimit")
    assert parse_job(ending.format("2026-01-01T10:10:00")) == JobStatus(
        state="COMPLETING", reason="TimeLimit", is_preempted=True
    )
    assert parse_job(PENDING) == JobStatus(state="PENDING", reason="Resources", log="/x")
    for limit in ("UNLIMITED", "Partition_Limit"):
        job = parse_job(f"JobState=RUNNING RunTime=1-00:00:31 TimeLimit={limit}")
        assert job
        assert job.left_s is None
    assert parse_job("slurm_load_jobs error: Unable to contact slurm controller") is None


@pytest.mark.parametrize(
    ("status", "words", "is_over"),
    [
        (JobStatus(state="PENDING", reason="Resources"), "waits (Resources)", False),
        (JobStatus(state="PENDING", reason="BeginTime", restarts=1), "waits (BeginTime), requeued once", False),
        (JobStatus(state="RUNNING", nodes="n1", started_at="10:00"), "runs on n1 since 10:00", False),
        (JobStatus(state="COMPLETING"), "is completing", False),
        (JobStatus(state="COMPLETED", restarts=3), "has ended, requeued 3 times", True),
        (JobStatus(state="FAILED", exit_code=1), "ended with exit code 1", True),
        (JobStatus(state="NODE_FAIL"), "is over (node fail)", True),
        (JobStatus(state="TIMEOUT", reason="TimeLimit"), "is over (timeout: TimeLimit)", True),
        (JobStatus(state=GONE), "is over, and Slurm no longer knows it", True),
    ],
)
def test_a_job_in_words(status: JobStatus, words: str, is_over: bool) -> None:
    assert status.describe() == words
    assert status.is_over == is_over
