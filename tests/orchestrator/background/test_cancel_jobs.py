"""The end of a sweep's Slurm jobs that its user asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bilin.errors import ClusterError
from bilin.folder import SweepFolder
from bilin.orchestrator.background import cancellation
from bilin.orchestrator.background.cancellation import cancel_jobs
from bilin.orchestrator.clusters.slurm.job import record_submission, recorded_job
from tests.machine.fake_slurm import FakeSlurm


@pytest.fixture(autouse=True)
def _ask_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for name in ("_ASK_SLURM_S", "_LOOK_S"):
        monkeypatch.setattr(cancellation, name, 0.001)


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    (tmp_path / "tiny").mkdir()
    return SweepFolder(tmp_path / "tiny")


@pytest.fixture
def slurm(folder: SweepFolder) -> FakeSlurm:
    """A Slurm with a job of the sweep that waits."""
    slurm = FakeSlurm()
    record_submission(folder, slurm.submit("#!", log="log"), "log", slurm=slurm)
    return slurm


def test_a_job_that_waits_is_cancelled(folder: SweepFolder, slurm: FakeSlurm) -> None:
    assert cancel_jobs(folder, 60.0, slurm=slurm) == {"1": "cancelled"}
    assert slurm.cancelled == ["1"]
    job = recorded_job(folder)
    assert job
    assert job.ended == "it was cancelled"
    assert cancel_jobs(folder, 60.0, slurm=slurm) == {}


def test_a_job_that_runs_ends_by_itself_when_it_is_signalled(folder: SweepFolder, slurm: FakeSlurm) -> None:
    slurm.begin("1")
    slurm.on_signal = slurm.end
    assert cancel_jobs(folder, 60.0, slurm=slurm) == {"1": "ended"}
    assert slurm.cancelled == []


@pytest.mark.parametrize("grace_s", [0.0, 0.01])
def test_a_job_that_does_not_end_in_time_is_killed(folder: SweepFolder, slurm: FakeSlurm, grace_s: float) -> None:
    slurm.begin("1")
    assert cancel_jobs(folder, grace_s, slurm=slurm) == {"1": "killed"}
    assert slurm.cancelled == ["1"]


def test_a_successor_that_was_submitted_meanwhile_is_cancelled_too(folder: SweepFolder, slurm: FakeSlurm) -> None:
    def submit_the_next(job_id: str) -> None:
        record_submission(folder, slurm.submit("#!", log="log"), "log", slurm=slurm)
        slurm.end(job_id)

    slurm.begin("1")
    slurm.on_signal = submit_the_next
    assert cancel_jobs(folder, 60.0, slurm=slurm) == {"1": "ended", "2": "cancelled"}
    job = recorded_job(folder)
    assert job
    assert (job.job_id, job.ended) == ("2", "it was cancelled")


def test_a_job_that_slurm_does_not_end_is_an_error(
    folder: SweepFolder, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancellation, "SLURM_S", 0.01)
    slurm.begin("1")
    monkeypatch.setattr(slurm, "end", lambda *_: None)
    with pytest.raises(ClusterError, match=r"job 1 runs on .* `scontrol show job 1` says more"):
        cancel_jobs(folder, 0.0, slurm=slurm)
