"""Jobs in a row that bring nothing, and whose doing the end of one is."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from bilin.errors import ClusterError, InterruptedSweepError
from bilin.orchestrator.clusters.slurm.again import going_on, is_slurms_doing
from bilin.orchestrator.clusters.slurm.job import begin_own_job, keep_job, kept_job
from bilin.orchestrator.clusters.slurm.queue import JobStatus
from bilin.orchestrator.grid import ClusterSettings

NOW_AND_THEN = [0, 1, 2, 0, 0, 1]


def test_jobs_that_bring_nothing_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    keep_job(tmp_path, "7", "log")
    (tmp_path / "checkpoints").mkdir()
    counts = []
    for at in range(6):
        if at == 3:
            (tmp_path / "checkpoints" / "0123").write_text("step 5")
        if at == 4:
            (tmp_path / "trials-00000001.parquet").touch()
        job = begin_own_job(tmp_path)
        assert job
        counts.append(job.fruitless)
    assert counts == NOW_AND_THEN
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    job = begin_own_job(tmp_path)
    assert job
    assert job.fruitless == 0, "a script submitted by hand begins a new row"


def test_after_so_many_none_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    keep_job(tmp_path, "7", "log")
    with pytest.raises(InterruptedSweepError), going_on(tmp_path, patience=1):
        raise InterruptedSweepError("", signal=signal.SIGUSR1)
    job = kept_job(tmp_path)
    assert job
    assert "1 jobs in a row" in job.ended
    with pytest.raises(ClusterError, match="no job follows"), going_on(tmp_path, patience=1):
        pytest.fail("Slurm took it back, and it ran")


def test_a_signal_that_is_not_slurms_is_followed_by_nothing(tmp_path: Path) -> None:
    assert not is_slurms_doing(signal.SIGUSR1, tmp_path), "it is in no job"
    keep_job(tmp_path, "7", "log")
    assert is_slurms_doing(signal.SIGUSR1, tmp_path)
    assert not is_slurms_doing(signal.SIGINT, tmp_path)
    assert not is_slurms_doing(None, tmp_path)


@pytest.mark.parametrize(
    ("status", "makes_room"),
    [
        (JobStatus(state="COMPLETING"), False),  # scancel, or a requeue: then Slurm goes on by itself
        (JobStatus(state="COMPLETING", reason="TimeLimit"), True),
        (JobStatus(state="COMPLETING", is_preempted=True), True),
        (JobStatus(state="RUNNING"), False),
        (JobStatus(state="PREEMPTED"), True),
    ],
)
def test_what_ends_is_told_apart(status: JobStatus, *, makes_room: bool) -> None:
    assert status.is_to_make_room == makes_room


@pytest.mark.parametrize(
    ("time", "warning_s"),
    [(None, 120), ("2", 60), ("90", 120), ("1:30", 45), ("0:01:00", 30), ("1-0", 120), ("0-0:2", 60), ("0-0:1:30", 45)],
)
def test_the_warning_leaves_half_of_a_short_time(time: str | None, warning_s: int) -> None:
    assert ClusterSettings(time=time).warning_s == warning_s
