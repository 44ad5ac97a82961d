"""A node's own answers, on real folders, ports and locks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bilin.orchestrator.clusters.inquiry import node
from bilin.orchestrator.clusters.inquiry.answers import Answers, command, other_versions, read
from bilin.orchestrator.clusters.inquiry.beacon import beacon
from bilin.orchestrator.grid import megabytes

ROOT = pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root mounts")


def asked(questions: dict[str, dict[str, object]], *flags: str) -> dict[str, object]:
    """What a Python says that has its standard library alone."""
    python, *words = command(sys.executable, questions, place="7")
    ended = subprocess.run([python, "-I", "-S", *words], capture_output=True, text=True, check=True)
    answers: dict[str, Answers] = {}
    read([*ended.stdout.splitlines(), "a line of set-up commands"], answers)
    return answers["7"].said


def test_a_bare_python_answers_and_an_error_is_an_answer() -> None:
    said = asked({"room": {}, "versions": {"packages": ["bilin"]}, "ports": {}, "clock": {}})
    assert list(said) == ["room", "versions", "ports", "clock"]
    assert said["versions"] == {"python": node.versions([])["python"], "bilin": None}
    assert "missing 2 required" in said["ports"]["error"]  # type: ignore[index]


def test_long_answers_of_two_nodes_may_be_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    for place in "ab":
        node.say(place, "room", {"name": place * 2000})
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 500
    half = len(lines) // 2
    answers: dict[str, Answers] = {}
    read([line for pair in zip(lines[:half], lines[half:], strict=True) for line in pair], answers)
    assert {place: each.name for place, each in answers.items()} == {"a": "a" * 2000, "b": "b" * 2000}


def test_a_temp_directory_may_be_too_long_for_sockets(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 10)
    folder.mkdir()
    assert "error" not in node.temporary("/tmp")
    assert "too long" in node.temporary(str(folder))["error"]
    assert list(folder.iterdir()) == []


def test_files_that_the_kernel_would_drop_are_no_used_memory(tmp_path: Path) -> None:
    assert node.cached(tmp_path) == 0
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 4096\n")
    assert node.cached(tmp_path) == 4096
    (tmp_path / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 8192\n")
    assert node.cached(tmp_path) == 8192


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
    assert [answers[place].said["reach"] for place in "01"] == [{"num_nodes": 3, "met": 3, "failed": refused}] * 2


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = node.ports("127.0.0.1", [0, port, 0])
    assert (said["num_bound"], said["error"]) == (2, f"port {port}: Address already in use")


def test_memory_is_what_slurm_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    there = node.memory()
    assert 0 < there["available"] <= there["total"]
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "7")
    assert node.memory()["available"] == 7 * 2**20
    assert node.memory(asked=megabytes("5M"))["available"] == 5 * 2**20
    assert [megabytes(text) for text in ("0", "1500", "2g", "4096K", "1T")] == [0, 1500, 2048, 4, 2**20]


def test_the_store_is_seen_written_and_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bilin.orchestrator.clusters.inquiry.beacon.APPEAR_S", 0.1)
    with beacon(tmp_path) as made:
        said = node.store(**made.question("a"))
        assert (said["lock"], said["num_torn"], made.fault("a", said)) == ("held", 0, "")
        assert "another folder" in made.fault("b", said), "what the node wrote is not seen here"
        assert node.lock(Path(__file__)) == "taken"
        assert "another folder" in made.fault("a", {"error": "", "is_same": False})
        assert "hang" in made.fault("a", None)
    assert list(tmp_path.iterdir()) == []


@ROOT
def test_a_store_on_another_mount_and_one_that_is_read_only(tmp_path: Path) -> None:
    with beacon(tmp_path) as made:
        questions = {"store": made.question("7")}
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
            assert words in made.fault("7", answers["7"].said["store"])


def test_versions_that_differ_or_are_missing_are_named() -> None:
    found = other_versions({"bilin": "1", "ray": "2", "torch": "3"}, {"bilin": "1", "ray": "9", "torch": None})
    assert list(found) == ["ray", "torch"]
    assert found["ray"].startswith("has ray 9; here: 2.")
    assert found["torch"].startswith("has no torch; here: 3.")


def test_a_clock_is_held_against_the_moment_of_its_answer() -> None:
    behind = Answers("a")
    behind.take("." + json.dumps(["clock", {"now": 1000.0}]), now=1030.0)
    assert behind.ahead_s == -30.0
