"""A sweep on a Ray that somebody else started."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import bilin
import bilin.version
from bilin.errors import ClusterError
from bilin.fields import Amounts
from bilin.orchestrator import ClusterSpec, launch
from bilin.orchestrator.clusters import PoolSpec, open_pool
from bilin.spec import Resources
from bilin.workers.events import Finished
from bilin.workers.pool import Group
from tests.installed import Environment, write_package
from tests.sweeps import bilin as run_bilin
from tests.sweeps import contents, finish, wait_until, write_grid
from tests.workers.pool_runs import FINE, Events, by_seed
from tests.workers.test_pools import spec

GRID = """
name: joined
tasks: [{name: modular_addition, m: [2, 3]}]
models: [{tier: real_diagonal, hidden: 4, embedding: 4}]
train: {steps: 20}
validate: {every: 10, lengths: [20], num_sequences: 16}
test: {lengths: [10, 50], num_sequences: 16}
learning_rate: {choices: [1e-2]}
"""

START = "from ray.scripts.scripts import main; main()"
RESOURCES = {"license": 2, "accelerator_type:H100": 1}


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A Ray of two CPUs behind a token, started by hand; its port, and that of its client server."""
    for name, value in (("RAY_AUTH_MODE", "token"), ("RAY_AUTH_TOKEN", secrets.token_hex(32))):
        monkeypatch.setenv(name, value)
    with started(sys.executable) as ports:
        yield ports


@pytest.fixture
def address(head: list[int]) -> str:
    """Where it is."""
    return f"127.0.0.1:{head[0]}"


@contextmanager
def started(python: str | Path) -> Iterator[list[int]]:
    """The head of a Ray, by some Python; its port, and that of its client server."""
    with socket.socket() as first, socket.socket() as second:
        for probe in (first, second):
            probe.bind(("127.0.0.1", 0))
        ports = [probe.getsockname()[1] for probe in (first, second)]
    folder = Path("/tmp") / f"joined-{ports[0]}"
    has = ["--num-cpus=2", "--num-gpus=1", "--memory=1000000000", f"--resources={json.dumps(RESOURCES)}"]
    places = [f"--port={ports[0]}", f"--ray-client-server-port={ports[1]}", f"--temp-dir={folder}"]
    options = [*has, *places, "--include-dashboard=false", "--dashboard-agent-listen-port=0", "--block"]
    command = [str(python), "-c", START, "start", "--head", *options]
    environment = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"}  # see docs/clusters.md
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        assert any("Ray runtime started" in line for line in process.stdout)
        assert wait_until(lambda: all(map(_listens, ports)), 60)
        yield ports
    finally:
        process.terminate()
        process.communicate(timeout=100)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_joins_a_ray_that_is_up_and_leaves_it_up(address: str, tmp_path: Path) -> None:
    grid = write_grid(tmp_path, GRID)
    for name in ("first", "second"):
        command = ["sweep", "launch", str(grid), "--store", str(tmp_path / name), "--address", address]
        ended = subprocess.run(
            [sys.executable, "-m", "bilin", *command], env=dict(os.environ), check=False, timeout=100
        )
        assert ended.returncode == 0
    launch(grid, store=tmp_path / "inline", cluster=ClusterSpec(kind="inline"))
    assert contents(tmp_path / "first") == contents(tmp_path / "second") == contents(tmp_path / "inline")


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_runs_from_a_machine_that_is_no_node(head: list[int], tmp_path: Path) -> None:
    grid, store = write_grid(tmp_path, GRID), tmp_path / "store"
    arguments = ["--store", store, "--address", f"ray://127.0.0.1:{head[1]}", "--checkpoint-every", "0.05"]
    code, _, err = finish(run_bilin("sweep", "launch", grid, *arguments))
    assert code == 0, err
    launch(grid, store=tmp_path / "inline", cluster=ClusterSpec(kind="inline"))
    assert contents(store) == contents(tmp_path / "inline")
    more = ["--set", "resources.custom={license: 3}", "--set", "name=more", "--set", "seeds=[1]"]
    code, _, err = finish(run_bilin("sweep", "launch", grid, *more, *arguments))
    assert (code, "2 CPUs, 1 GPU (H100), 1 GB of memory and 2 of license" in err) == (4, True), err


@pytest.mark.ray
def test_workers_take_what_they_ask_for(address: str) -> None:
    licenses = Amounts((("license", 1.5),))
    resources = Resources(cpus=0.5, gpus=0.5, accelerator="H100", memory="400MB", custom=licenses)
    trials = [dataclasses.replace(trial, resources=resources) for trial in (spec(FINE), spec(FINE, lr=1e-2))]
    seen = Events()
    with open_pool(
        ClusterSpec(kind="ray", address=address), PoolSpec(run=by_seed, demand=[resources], emit=seen)
    ) as pool:
        pool.submit(Group((trials[0],)))
        assert not pool.accepts(resources), "there are two licenses, and each worker takes one and a half"
        (event,) = seen.wait(pool, 1)
        assert isinstance(event, Finished)
        pool.submit(Group((trials[1],)))
        assert seen.wait(pool, 1)
    for more in (Resources(memory="2GB"), Resources(gpus=1, accelerator="A100")):
        with (
            pytest.raises(ClusterError, match="of one node, but the largest of the 1 node of"),
            open_pool(ClusterSpec(kind="ray", address=address), PoolSpec(run=by_seed, demand=[more], emit=print)),
        ):
            pass


OTHER_VERSION = f"mount --bind $FOLDER/version.py {bilin.version.__file__}"
NO_STORE = "mount -t tmpfs none $FOLDER/store"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root makes nodes of their own here")
def test_a_node_that_cannot_run_the_sweep_is_named_before_the_first_trial(address: str, tmp_path: Path) -> None:
    grid = write_grid(tmp_path, GRID)
    (tmp_path / "version.py").write_text('__version__ = "0.0.9"')
    (tmp_path / "store").mkdir()
    with node(address, tmp_path, "node7", f"{OTHER_VERSION} && {NO_STORE}"):
        environment = {**os.environ, "PYTHONPATH": str(Path(bilin.__file__).parents[1])}
        asked = [str(grid), "--store", "store", "--address", address]
        ended, examined = (
            subprocess.run(
                [sys.executable, "-m", "bilin", *command, *asked],
                cwd=tmp_path,
                env=environment,
                check=False,
                capture_output=True,
                text=True,
            )
            for command in (["sweep", "launch"], ["cluster", "doctor", "--json"])
        )
    assert ended.returncode == examined.returncode == 4
    assert f"node node7: has bilin 0.0.9; here: {bilin.__version__}" in ended.stderr
    assert f"node node7: cannot use the store, {tmp_path}/store/joined: No such file" in ended.stderr
    assert ended.stderr.count("node7") == ended.stderr.count("  node ") == 2
    assert not list((tmp_path / "store/joined").glob(".seen*"))

    findings = json.loads(examined.stdout)["findings"]
    assert {each["found"] for each in findings if each["check"] == "cluster"} == {f"reached at {address}: 2 nodes"}
    faults = {
        each["check"]: each["found"] for each in findings if each["where"] == "node7" and each["level"] == "error"
    }
    assert faults["versions"] == f"has bilin 0.0.9; here: {bilin.__version__}"
    assert faults["store"] == f"sees another folder at {tmp_path}/store: all nodes must see the same store"
    assert {each["where"] for each in findings if each["level"] == "error"} == {"node7"}


TASK = """
from dataclasses import dataclass
from typing import ClassVar
from bilin.tasks.modular_addition import ModularAddition

@dataclass(frozen=True, slots=True, kw_only=True)
class Sum(ModularAddition):
    name: ClassVar[str] = "sum"
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root makes nodes of their own here")
def test_a_node_with_another_version_of_the_package_of_a_task_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RAY_AUTH_MODE", "token"), ("RAY_AUTH_TOKEN", secrets.token_hex(32))):
        monkeypatch.setenv(name, value)
    environments = {}
    for version in ("1.0", "1.1"):
        folder = tmp_path / version
        folder.mkdir()
        environments[version] = Environment(folder / "venv")
        package = write_package(folder, "sums", version, {"bilin.tasks": {"sum": "sums:Sum"}}, sums=TASK)
        environments[version].install(package)
    grid = write_grid(tmp_path, GRID.replace("modular_addition", "sum"))
    here, there = environments["1.0"], environments["1.1"].bin / "python"
    with started(here.bin / "python") as ports, node(f"127.0.0.1:{ports[0]}", tmp_path, "node7", "true", python=there):
        ended = here.run(f"bilin sweep launch {grid} --store store --address 127.0.0.1:{ports[0]}", cwd=tmp_path)
    assert ended.returncode == 4
    assert "node node7: has sums 1.1; here: 1.0; use the same version" in ended.stderr
    assert ended.stderr.count("  node ") == 1


@contextmanager
def node(address: str, folder: Path, name: str, mounts: str, *, python: str | Path = sys.executable) -> Iterator[None]:
    """A second node of a Ray, with a name and with mounts of its own."""
    options = f"--address={address} --num-cpus=1 --dashboard-agent-listen-port=0 --block"
    ray = f"exec {python} -c '{START}' start {options}"
    environment = {**os.environ, "FOLDER": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = str(Path(bilin.__file__).parents[1])
    command = ["unshare", "--mount", "--uts", "sh", "-c", f"hostname {name} && {mounts} && {ray}"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
        assert any("Ray runtime started" in line for line in process.stdout), "the node did not start"
        yield
    finally:
        process.terminate()
        process.communicate(timeout=100)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
