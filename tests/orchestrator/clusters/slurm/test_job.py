"""The job of a sweep, as its folder and Slurm together know it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bilin.errors import ClusterError, SweepRunningError
from bilin.folder import SweepFolder
from bilin.machine.slurm import GONE, JobStatus
from bilin.orchestrator.clusters.slurm.job import (
    active_job,
    check_no_job,
    job_status,
    record_job,
    record_submission,
    recorded_job,
)
from tests.machine.fake_slurm import FakeSlurm


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    (tmp_path / "tiny").mkdir()
    return SweepFolder(tmp_path / "tiny")


def submitted(folder: SweepFolder) -> FakeSlurm:
    slurm = FakeSlurm(jobs={"7": JobStatus(state="PENDING", name="bilin-tiny", reason="Resources")})
    record_submission(folder, "7", "log", slurm=slurm)
    return slurm


def test_a_second_submission_is_refused_while_a_job_waits_or_runs(folder: SweepFolder) -> None:
    slurm = submitted(folder)
    with pytest.raises(SweepRunningError, match=r"job 7, which waits \(Resources\): nothing was submitted"):
        check_no_job(folder, slurm=slurm)
    slurm.end("7")
    check_no_job(folder, slurm=slurm)


def test_a_slurm_that_does_not_answer_is_an_error_while_a_job_may_wait(folder: SweepFolder) -> None:
    slurm = submitted(folder)
    slurm.answers = False
    assert active_job(folder, slurm=slurm) is None
    with pytest.raises(ClusterError, match="Slurm does not say whether it waits or runs"):
        check_no_job(folder, slurm=slurm)
    job = recorded_job(folder)
    assert job
    record_job(folder, replace(job, ended="it was cancelled"))
    check_no_job(folder, slurm=slurm)


def test_a_number_that_another_job_has_now_is_not_that_of_the_sweep(folder: SweepFolder) -> None:
    slurm = submitted(folder)
    slurm.jobs["7"] = JobStatus(state="RUNNING", name="somebody-else")
    job = recorded_job(folder)
    assert job
    assert job_status(job, slurm=slurm) == JobStatus(state=GONE)


def test_a_job_with_more_than_the_sweep_in_it_is_not_the_sweeps(folder: SweepFolder) -> None:
    slurm = submitted(folder)
    job = recorded_job(folder)
    assert job
    record_job(folder, replace(job, alone=False))
    assert active_job(folder, slurm=slurm) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"job_id": "7"}'])
def test_a_file_that_cannot_be_read_is_no_job(folder: SweepFolder, text: str) -> None:
    folder.job.write_text(text)
    assert recorded_job(folder) is None
