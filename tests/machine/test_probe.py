"""A node's own answers, on real folders, ports and locks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bilin.machine import host, probe
from bilin.machine.slurm import megabytes
from bilin.orchestrator.clusters.inquiry import Answers, command, last_error, open_beacon, read
from bilin.version import __version__

ROOT = pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root mounts")


def asked(questions: dict[str, dict[str, object]]) -> dict[str, Any]:
    """What this Python says."""
    ended = subprocess.run(command(sys.executable, questions, place="7"), capture_output=True, text=True, check=True)
    answers: dict[str, Answers] = {}
    read([*ended.stdout.splitlines(), "a line of set-up commands"], answers)
    return answers["7"].records


def test_every_question_has_an_answer_and_an_error_is_an_answer() -> None:
    records = asked({"room": {}, "versions": {"packages": ["bilin", "none"]}, "ports": {}, "quest": {}, "clock": {}})
    assert list(records) == ["room", "versions", "ports", "quest", "clock"]
    assert records["versions"] == {**probe.versions([]), "bilin": __version__, "none": None}
    assert "missing 2 required" in records["ports"]["error"]
    assert "quest" in records["quest"]["error"]


def test_a_python_without_bilin_is_named() -> None:
    python, *words = command(sys.executable, {"clock": {}})
    ended = subprocess.run([python, "-I", "-S", *words[1:]], capture_output=True, text=True, check=False)
    assert last_error(ended.stderr) == f"bilin is not installed for {python}. Install bilin {__version__} there"


def test_a_bilin_without_this_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "bilin").mkdir()
    (tmp_path / "bilin/__init__.py").touch()
    python, *words = command(sys.executable, {"clock": {}})
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([python, "-S", *words], env=environment, capture_output=True, text=True, check=False)
    assert last_error(ended.stderr).startswith(f"has another bilin for {python}; here: {__version__}")


@pytest.mark.parametrize("program", ["probe", "ray_node", "guardian"])
def test_a_program_for_nodes_loads_the_standard_library_alone(program: str) -> None:
    modules = f"import sys, bilin.machine.{program}; print(*sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-P", "-c", modules], capture_output=True, text=True, check=True)
    rooms = {name.partition(".")[2].partition(".")[0] for name in ended.stdout.split() if name.startswith("bilin")}
    assert rooms <= {"", "errors", "machine", "version"}
    assert not {"torch", "ray", "numpy", "duckdb", "pyarrow", "optuna"} & set(ended.stdout.split())


def test_long_answers_of_two_nodes_may_be_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    for place in "ab":
        probe.print_answer(place, "room", {"name": place * 2000})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 500
    half = len(lines) // 2
    answers: dict[str, Answers] = {}
    read([line for pair in zip(lines[:half], lines[half:], strict=True) for line in pair], answers)
    assert {place: each.name for place, each in answers.items()} == {"a": "a" * 2000, "b": "b" * 2000}


def test_a_temp_directory_may_be_too_long_for_sockets(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 10)
    folder.mkdir()
    assert "error" not in probe.temporary("/tmp")
    assert "too long" in probe.temporary(str(folder))["error"]
    assert list(folder.iterdir()) == []


def test_files_that_the_kernel_would_drop_are_no_used_memory(tmp_path: Path) -> None:
    assert host.cached_bytes(tmp_path) == 0
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 4096\n")
    assert host.cached_bytes(tmp_path) == 4096
    (tmp_path / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 8192\n")
    assert host.cached_bytes(tmp_path) == 8192


def test_nodes_of_a_step_look_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "3")
    monkeypatch.setenv("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        third = json.dumps(["third", "127.0.0.1", closed.getsockname()[1]])
        (tmp_path / "at-2").write_text(third)
        (tmp_path / "tried-2").touch()
        nodes = []
        for number in range(2):
            monkeypatch.setenv("SLURM_NODEID", str(number))
            words = command(sys.executable, {"reach": {"folder": str(tmp_path)}})
            nodes.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        answers: dict[str, Answers] = {}
        for each in nodes:
            read(each.communicate()[0].splitlines(), answers)
    refused = ["third (127.0.0.1): Connection refused"]
    assert [answers[place].records["reach"] for place in "01"] == [{"num_nodes": 3, "met": 3, "failed": refused}] * 2


def test_ports_that_cannot_be_bound_are_an_error() -> None:
    assert probe.ports("127.0.0.1", 16) == {"host": "127.0.0.1", "count": 16, "error": ""}
    there_is_none = probe.ports("192.0.2.1", 16)["error"]
    assert there_is_none == "0 of 16 ports could be bound: Cannot assign requested address"


def test_memory_is_what_slurm_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    there = probe.memory()
    assert 0 < there["available"] <= there["total"]
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "7")
    assert probe.memory()["available"] == 7 * 2**20
    assert probe.memory(limit=megabytes("5M"))["available"] == 5 * 2**20
    assert [megabytes(text) for text in ("0", "1500", "2g", "4096K", "1T")] == [0, 1500, 2048, 4, 2**20]


def test_the_store_is_seen_written_and_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bilin.orchestrator.clusters.inquiry.APPEAR_S", 0.1)
    with open_beacon(tmp_path) as beacon:
        record = probe.store(**beacon.question("a"))
        assert (record["lock"], record["num_torn"], beacon.fault("a", record)) == ("held", 0, "")
        assert "another folder" in beacon.fault("b", record), "what the node wrote is not seen here"
        assert probe.try_lock(Path(__file__)) == "taken"
        assert "another folder" in beacon.fault("a", {"error": "", "is_same": False})
        assert "hang" in beacon.fault("a", None)
    assert list(tmp_path.iterdir()) == []


@ROOT
def test_a_store_on_another_mount_and_one_that_is_read_only(tmp_path: Path) -> None:
    with open_beacon(tmp_path) as beacon:
        questions = {"store": beacon.question("7")}
        for mounts, words in (
            (f"mount -t tmpfs none {tmp_path}", "sees another folder"),
            (f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path}", "Read-only file system"),
            (f"mount -t tmpfs none {tmp_path.parent}", "No such file or directory"),
        ):
            words_of = command(sys.executable, questions, place="7")
            there = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *words_of]
            ended = subprocess.run(there, capture_output=True, text=True, check=True)
            answers: dict[str, Answers] = {}
            read(ended.stdout.splitlines(), answers)
            assert words in beacon.fault("7", answers["7"].records["store"])
