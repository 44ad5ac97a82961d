"""What is asked of Slurm from inside a job."""

from __future__ import annotations

from pathlib import Path

import pytest

from bilin.errors import ClusterError
from bilin.machine.host import free_ports
from bilin.machine.ray_node import NodeCommand
from bilin.machine.slurm import JobStatus
from bilin.orchestrator.clusters.slurm.allocation import further_nodes, ray_in_job, time_left_s
from bilin.orchestrator.grid import ClusterSettings
from tests.machine.fake_slurm import FakeSlurm

COMMAND = NodeCommand(head="10.0.0.1:6379", client_port=10001)


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm whose job 1, of one node, this process is in."""
    for name, value in (("JOB_ID", "1"), ("JOB_NUM_NODES", "1"), ("JOB_NAME", "bilin-tiny"), ("NODEID", "0")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    return FakeSlurm(jobs={"1": JobStatus(state="RUNNING", log="/logs/100%.log", left_s=60.0)})


def test_further_nodes_are_an_array_of_jobs_that_goes_with_the_sweep(slurm: FakeSlurm) -> None:
    with further_nodes(ClusterSettings(nodes="1-8", partition="gpu", setup=("module load a",)), COMMAND, slurm=slurm):
        assert slurm.options["2"] == ("--job-name=bilin-tiny-more", "--array=1-7", "--export=ALL")
        lines = slurm.scripts["2"].splitlines()
        assert slurm.jobs["2"].log == "/logs/100%%.log"
        assert {"#SBATCH --nodes=1", "#SBATCH --partition=gpu", "module load a"} <= set(lines)
        assert lines[-1].endswith("-P -m bilin.machine.ray_node 10.0.0.1:6379 10001")
        assert slurm.cancelled == []
    assert slurm.cancelled == ["2"]


def test_a_job_that_has_all_its_nodes_asks_for_none(slurm: FakeSlurm) -> None:
    with further_nodes(ClusterSettings(nodes="1"), COMMAND, slurm=slurm):
        assert list(slurm.jobs) == ["1"]


def test_a_slurm_that_takes_no_jobs_from_a_job_is_reported(
    slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm.refuses = "access denied"
    with further_nodes(ClusterSettings(nodes="1-2"), COMMAND, slurm=slurm):
        assert capsys.readouterr().err == "Could not request more nodes: access denied\n"


def test_the_time_left_is_slurms(slurm: FakeSlurm) -> None:
    assert time_left_s(slurm=slurm) == 60.0
    slurm.answers = False
    assert time_left_s(slurm=slurm) is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("SLURM_JOB_ID", None, "this process is not in a job"), ("SLURM_NODEID", "1", "needs the first node of the job")],
)
def test_another_place_than_the_first_node_of_a_job_is_refused(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, message: str
) -> None:
    monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(ClusterError, match=message), ray_in_job(ClusterSettings(), slurm=slurm):
        pytest.fail("Ray was started")


def test_the_heads_ports_are_not_among_those_that_linux_gives_out() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    port, client_port = free_ports(2)
    assert port != client_port
    assert max(port, client_port) < lowest
