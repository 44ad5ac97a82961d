"""A sweep as a job of a Ray that is up: real jobs, where its job server is installed."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bilin.results import holder
from tests.cli.sweep.test_background import ENDLESS
from tests.sweeps import bilin, finish, wait_until, write_grid

WAIT_S = 200.0


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Ray with a job server."""
    for name, value in (("RAY_AUTH_MODE", "token"), ("RAY_AUTH_TOKEN", secrets.token_hex(32))):
        monkeypatch.setenv(name, value)
    port, dashboard = _ports(2)
    folder = Path("/tmp") / f"jobs-{port}"
    options = [f"--port={port}", f"--dashboard-port={dashboard}", "--num-cpus=2", f"--temp-dir={folder}", "--block"]
    start = "from ray.scripts.scripts import main; main()"
    command = [sys.executable, "-c", start, "start", "--head", "--dashboard-host=127.0.0.1", *options]
    head = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert head.stdout is not None
        assert any("Ray runtime started" in line for line in head.stdout)
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.communicate(timeout=WAIT_S)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_sweep_runs_as_a_ray_job_and_is_cancelled(address: str, tmp_path: Path) -> None:
    grid, store = write_grid(tmp_path, ENDLESS), tmp_path / "store"
    cancel = ["sweep", "cancel", "endless", "--store", str(store)]
    for elsewhere in ([], ["unshare", "--pid", "--fork", "--mount-proc"]):  # where only Ray can end it
        launch = bilin("sweep", "launch", grid, "--store", store, "--address", address, "--detach")
        code, out, err = finish(launch, WAIT_S)
        assert code == 0, err
        found = holder(store, "endless")
        assert found.ray_job.endswith(f"@{address}")
        assert found.ray_job.partition("@")[0] in out
        command = [*elsewhere, sys.executable, "-m", "bilin", *cancel]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert ended.returncode == 0, ended.stderr
        assert wait_until(lambda: holder(store, "endless") is None, WAIT_S)
    logs = sorted((store / "endless/jobs").glob("*.log"), key=lambda path: path.stat().st_mtime)
    assert "the same command continues from here" in logs[0].read_text()
    assert len(logs) == 2


def test_without_a_job_server_it_is_said_what_to_install(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, ENDLESS)
    (port,) = _ports(1)
    arguments = ["--store", tmp_path / "store", "--address", f"http://127.0.0.1:{port}", "--detach"]
    code, out, err = finish(bilin("sweep", "launch", grid, *arguments), WAIT_S)
    assert (code, out) == (4, "")
    assert "install bilin[jobs]" in err or "is its dashboard up?" in err
    assert "Traceback" not in err


def _ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
