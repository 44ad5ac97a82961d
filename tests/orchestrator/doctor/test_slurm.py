"""What is concluded from Slurm's answers, without a Slurm."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

import pytest

from bilin.machine.slurm import Slurm
from bilin.orchestrator.doctor.slurm import check, time_limit_s
from bilin.orchestrator.grid import ClusterSettings

PARTITIONS = (
    "PartitionName=main Default=YES DefaultTime=NONE MaxTime=01:00:00 Nodes=n[1-2] State=UP TotalNodes=2\n"
    "PartitionName=long Default=NO DefaultTime=02:00:00 MaxTime=UNLIMITED Nodes=n3 State=INACTIVE TotalNodes=1\n"
)
NODES = (
    "NodeName=n1 CPUTot=4 RealMemory=4000 Gres=gpu:2 State=IDLE Partitions=main\n"
    "NodeName=n2 CPUTot=8 RealMemory=8000 Gres=(null) State=MIXED+DRAIN Partitions=main\n"
)


class Answers(Slurm):
    """A Slurm that gives fixed answers to its commands, or else fails."""

    def __init__(self, **answers: str) -> None:
        self.answers: Mapping[str, str] = {
            "sbatch --version": "slurm-wlm 22.05.8",
            "scontrol -o show partition": PARTITIONS,
            "scontrol -o show node": NODES,
            "sbatch --test-only": "sbatch: Job 7 to start at 10:00 on nodes n1",
            **{name.replace("_", " "): text for name, text in answers.items()},
        }

    def missing(self) -> list[str]:
        return []

    def run(
        self, *command: str, script: str | None = None, timeout_s: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        text = self.answers.get(" ".join(command), "FAILS")
        return subprocess.CompletedProcess(command, int(text.startswith("FAILS")), text.removeprefix("FAILS"), "")


def found(settings: ClusterSettings, slurm: Slurm) -> dict[tuple[str, str], str]:
    return {(finding.check, finding.level): finding.found for finding in check(settings, slurm)}


@pytest.fixture(autouse=True)
def _outside_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def test_a_job_that_slurm_would_take() -> None:
    assert found(ClusterSettings(time="30"), Answers()) == {
        ("commands", "ok"): "sbatch, scancel, scontrol, srun; slurm-wlm 22.05.8",
        ("partition", "ok"): "main: 2 nodes (n[1-2]), MaxTime 01:00:00",
        ("job", "ok"): "would be accepted, to start at 10:00 on nodes n1",
    }


@pytest.mark.parametrize(
    ("settings", "check", "level", "text"),
    [
        (ClusterSettings(partition="gpu"), "partition", "error", "there is no gpu"),
        (ClusterSettings(partition="long"), "partition", "warning", "long is INACTIVE"),
        (ClusterSettings(time="2:00:00"), "partition", "error", "main allows at most 01:00:00"),
        (ClusterSettings(time="2:00:00", partition="main,long"), "partition", "warning", "long is INACTIVE"),
        (ClusterSettings(account="mine"), "account", "warning", "account mine: this Slurm checks neither"),
    ],
)
def test_settings_that_this_slurm_does_not_have(settings: ClusterSettings, check: str, level: str, text: str) -> None:
    assert text in found(settings, Answers())[check, level]


def test_an_account_that_slurm_checks() -> None:
    slurm = Answers(scontrol_show_config="AccountingStorageEnforce = associations,limits")
    assert ("account", "ok") in found(ClusterSettings(account="mine"), slurm)


def test_a_job_that_slurm_would_refuse_and_one_that_would_wait() -> None:
    slurm = Answers()
    slurm.answers = {**slurm.answers, "sbatch --test-only": "FAILSallocation failure: Requested node configuration"}
    (refused,) = (finding for finding in check(ClusterSettings(cpus=64), slurm) if finding.check == "job")
    assert (refused.level, refused.found) == ("error", "Slurm would refuse it: Requested node configuration")
    assert "the job requests --nodes=1 --ntasks-per-node=1 --cpus-per-task=64" in refused.advice
    assert refused.advice.endswith("the largest nodes have 8 CPUs, 8000 MB; or 4 CPUs, 4000 MB, gpu:2")
    waits = found(ClusterSettings(nodes="2"), slurm)["job", "warning"]
    assert waits.startswith("1 of 2 nodes are up: the job would wait")


def test_a_slurm_that_is_old_or_does_not_answer() -> None:
    slurm = Answers()
    slurm.answers = {"sbatch --version": "slurm 21.08.1"}
    assert set(found(ClusterSettings(), slurm)) == {("commands", "warning"), ("controller", "error")}


@pytest.mark.parametrize(
    ("settings", "limit_s"),
    [(ClusterSettings(time="30"), 1800), (ClusterSettings(), 3600), (ClusterSettings(partition="long"), 7200)],
)
def test_the_time_that_a_job_would_have(settings: ClusterSettings, limit_s: float) -> None:
    assert time_limit_s(settings, Answers()) == limit_s
