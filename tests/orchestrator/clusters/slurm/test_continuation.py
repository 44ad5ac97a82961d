"""The next job: when one follows, how, and when none does."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from bilin.errors import ClusterError, InterruptedSweepError
from bilin.folder import SweepFolder
from bilin.machine.slurm import JobStatus
from bilin.orchestrator.clusters.slurm.continuation import continued, is_ended_by_slurm
from bilin.orchestrator.clusters.slurm.job import begin_own_job, record_submission, recorded_job
from bilin.orchestrator.grid import ClusterSettings
from tests.machine.fake_slurm import FakeSlurm

NOW_AND_THEN = [0, 1, 2, 0, 0, 1]


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    (tmp_path / "tiny").mkdir()
    return SweepFolder(tmp_path / "tiny")


@pytest.fixture
def slurm(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm whose job 1 runs the sweep, in this process."""
    slurm = FakeSlurm()
    slurm.submit("#!/bin/bash\nthe script", log="log")
    slurm.begin("1")
    record_submission(folder, "1", "log", slurm=slurm)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    return slurm


def interrupt(folder: SweepFolder, slurm: FakeSlurm, number: int | None, patience: int = 3) -> None:
    with pytest.raises(InterruptedSweepError), continued(folder, patience, slurm=slurm):
        raise InterruptedSweepError("", signal=number)


def test_jobs_that_bring_nothing_are_counted(
    folder: SweepFolder, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.checkpoints.mkdir()
    counts = []
    for at in range(6):
        if at == 3:
            folder.checkpoint("0123").write_text("step 5")
        if at == 4:
            folder.trials_part(1).touch()
        job = begin_own_job(folder, slurm=slurm)
        assert job
        counts.append(job.fruitless)
    assert counts == NOW_AND_THEN
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    job = begin_own_job(folder, slurm=slurm)
    assert job
    assert job.fruitless == 0, "a script that the user submitted begins a new row"


def test_a_job_that_is_warned_goes_back_to_the_queue(folder: SweepFolder, slurm: FakeSlurm) -> None:
    interrupt(folder, slurm, signal.SIGUSR1)
    assert (slurm.jobs["1"].state, slurm.jobs["1"].restarts, len(slurm.jobs)) == ("PENDING", 1, 1)


def test_otherwise_a_successor_has_the_same_script_and_waits_for_its_end(folder: SweepFolder, slurm: FakeSlurm) -> None:
    slurm.can_requeue = False
    interrupt(folder, slurm, signal.SIGUSR1)
    assert slurm.scripts["2"] == slurm.scripts["1"]
    assert slurm.options["2"] == ("--dependency=afterany:1",)
    job = recorded_job(folder)
    assert job
    assert (job.job_id, job.log, job.ended) == ("2", str(folder.jobs / "2.log"), "")


def test_a_slurm_that_takes_no_job_is_reported(
    folder: SweepFolder, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.can_requeue, slurm.refuses = False, "the queue is full"
    interrupt(folder, slurm, signal.SIGUSR1)
    assert "no further job was submitted: the queue is full; launch the sweep again" in capsys.readouterr().err


def test_a_job_that_is_preempted_continues_and_one_that_the_user_ends_does_not(
    folder: SweepFolder, slurm: FakeSlurm
) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, None):
        interrupt(folder, slurm, number)
        assert slurm.jobs["1"].restarts == 0
    slurm.jobs["1"] = JobStatus(state="COMPLETING", is_preempted=True)
    interrupt(folder, slurm, signal.SIGTERM, patience=9)
    assert slurm.jobs["1"].restarts == 1


def test_after_as_many_fruitless_jobs_as_patience_allows_none_follows(folder: SweepFolder, slurm: FakeSlurm) -> None:
    interrupt(folder, slurm, signal.SIGUSR1, patience=1)
    job = recorded_job(folder)
    assert job
    assert "1 jobs in a row" in job.ended
    assert slurm.jobs["1"].restarts == 0
    with (
        pytest.raises(ClusterError, match="no further job was submitted"),
        continued(folder, patience=1, slurm=slurm),
    ):
        pytest.fail("Slurm took it back, and it ran")


def test_outside_of_a_job_nothing_follows(folder: SweepFolder) -> None:
    assert not is_ended_by_slurm(signal.SIGUSR1, folder, slurm=FakeSlurm())


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
