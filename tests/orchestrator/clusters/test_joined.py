"""A sweep on a Ray that somebody else started."""

from __future__ import annotations

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
from bilin.orchestrator import ClusterSpec, launch
from tests.sweeps import contents, wait_until, write_grid

GRID = """
name: joined
tasks: [{name: modular_addition, m: [2, 3]}]
models: [{tier: real_diagonal, hidden: 4, embedding: 4}]
train: {steps: 20}
validate: {every: 10, lengths: [20], num_sequences: 16}
test: {lengths: [10, 50], num_sequences: 16}
learning_rate: {choices: [1e-2]}
"""


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Ray of two CPUs behind a token, started by hand."""
    for name, value in (("RAY_AUTH_MODE", "token"), ("RAY_AUTH_TOKEN", secrets.token_hex(32))):
        monkeypatch.setenv(name, value)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path("/tmp") / f"joined-{port}"
    options = [f"--port={port}", "--num-cpus=2", "--include-dashboard=false", f"--temp-dir={folder}", "--block"]
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--head", *options]
    head = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: _listens(port), 60)
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.wait(40)
        shutil.rmtree(folder, ignore_errors=True)


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


OTHER_VERSION = f"mount --bind $FOLDER/version.py {bilin.version.__file__}"
NO_STORE = "mount -t tmpfs none $FOLDER/store"


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


@contextmanager
def node(address: str, folder: Path, name: str, mounts: str) -> Iterator[None]:
    """A second node of a Ray, with a name and with mounts of its own."""
    start = "from ray.scripts.scripts import main; main()"
    ray = f"exec {sys.executable} -c '{start}' start --address={address} --num-cpus=1 --block"
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
