"""How a Ray of our own is started: on a slow machine, from a folder full of misleading files, under `uv run`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from bilin.errors import ClusterError, WaitWarning
from bilin.orchestrator.clusters import ClusterSpec, PoolSpec, open_pool, ray_internals
from bilin.results import query
from tests.sweeps import write_grid
from tests.workers.pool_runs import by_seed

GRID = """
name: first
tasks: [{name: modular_addition, m: [2, 3]}]
models: [{tier: real_diagonal, hidden: 4, embedding: 4}]
train: {steps: 20}
validate: {every: 10, lengths: [20], num_sequences: 16}
test: {lengths: [10, 50], num_sequences: 16}
learning_rate: {choices: [1e-2]}
"""


@pytest.mark.slow
@pytest.mark.timeout(600)  # under load, each start of Ray takes minutes
@pytest.mark.ray
def test_workers_do_not_import_from_the_current_folder_and_need_no_upload(tmp_path: Path) -> None:
    """With a program named `uv` above the launch, whose first argument is `run`, as Ray's hook looks for it."""
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("statistics", "profile", "numbers"):
        (folder / f"{name}.py").write_text("raise RuntimeError('imported from the current folder')")
    (folder / "run").write_text("import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))")
    (folder / "uv").symlink_to(sys.executable)
    command = f"{sys.executable} -P -m bilin sweep launch {write_grid(tmp_path, GRID)} --workers 1".split()
    ended = subprocess.run(
        [str(folder / "uv"), "run", *command, "--store", str(tmp_path / "store")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert query(store=tmp_path / "store", view="trials")["status"].to_pylist() == ["done", "done"]


def test_a_folder_that_is_searched_here_is_searched_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("/of/a/script")
    monkeypatch.chdir("/")
    folders = ray_internals.job_config()._py_driver_sys_path
    assert folders[-1] == "/of/a/script", "the last one is put first"
    assert "/" not in folders
    monkeypatch.syspath_prepend("")
    assert ray_internals.job_config()._py_driver_sys_path[-1] == "/"


def test_a_node_is_waited_for_while_its_process_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import services

    answers = iter([RuntimeError("not yet"), RuntimeError("not yet"), "the node", RuntimeError("not yet")])

    def get_node() -> Any:
        answer = next(answers)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    monkeypatch.setattr(services, "get_node", get_node)
    with (
        ray_internals.patient(lambda: True, timeout_s=60.0, notice_s=0.0),
        pytest.warns(WaitWarning, match="Ray is starting"),
    ):
        assert services.get_node() == "the node"
    with ray_internals.patient(lambda: False, timeout_s=60.0, notice_s=0.0), pytest.raises(RuntimeError):
        services.get_node()


def test_a_ray_that_does_not_start_is_tried_again_and_the_way_without_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders = set()

    def init(*_: object, _temp_dir: str, **__: object) -> None:
        folders.add(_temp_dir)
        raise Exception("The current node timed out during startup")  # noqa: TRY002 (as Ray does)

    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.warns(WaitWarning, match="try 2 of 2"),
        pytest.raises(ClusterError, match=r"timed out during startup.*--cluster inline"),
        open_pool(ClusterSpec(workers=1), PoolSpec(run=by_seed, demand=[], emit=print)),
    ):
        pass
    assert len(folders) == 2
