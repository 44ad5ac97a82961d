"""A node's own answers, on real folders, ports and locks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bilin.machine import host, probe, ray_node
from bilin.machine.slurm import megabytes
from bilin.orchestrator.clusters.inquiry import Answers, ask_here, command, last_error, open_beacon, read
from bilin.version import __version__

ROOT = pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root mounts")


NODE = probe.Here(place="7", name="node", has={"CPU": 1.0}, num_trials=1)
CPU = {"version": "2.6+cpu", "cuda": None, "names": [], "rates": [], "error": "", "driver": ""}
TOO_OLD = CPU | {"version": "2.6", "cuda": "12.8", "error": "The NVIDIA driver is too old"}
TWO = CPU | {
    "version": "2.6",
    "cuda": "12.8",
    "names": ["H200 (150 GB)"] * 2,
    "rates": [310.4, 299.6],
    "driver": "12.8",
}


def asked(checks: dict[str, dict[str, object]], **more: object) -> Answers:
    """What this Python says."""
    words = command(sys.executable, {"checks": checks, **more}, place="7")
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    answers: dict[str, Answers] = {}
    read([*ended.stdout.splitlines(), "a line of set-up commands"], answers)
    return answers["7"]


def about(node: Answers, check: str) -> list[probe.Verdict]:
    return [(each.level, each.found, each.advice) for each in node.findings if each.check == check]


def levels(verdicts: Iterable[probe.Verdict]) -> list[str]:
    return [level for level, *_ in verdicts]


def test_every_check_has_an_answer_and_an_error_is_an_answer() -> None:
    own = {"bilin": __version__, "nothing": "1"}
    node = asked({"room": {}, "versions": {"own": own, "may_differ": {}}, "ports": {}, "quest": {}})
    assert {each.where for each in node.findings} == {socket.gethostname()}
    assert list(dict.fromkeys(each.check for each in node.findings)) == ["room", "versions", "ports", "quest", "clock"]
    assert about(node, "versions") == [
        ("error", "has no nothing; here: 1", "install it there too"),
        ("ok", f"bilin {__version__}, as on this machine", ""),
    ]
    assert "missing 2 required" in about(node, "ports")[0][1]
    assert "quest" in about(node, "quest")[0][1]
    assert levels(about(node, "clock")) == ["ok"]


@pytest.mark.parametrize(
    ("more", "num_trials"),
    [
        ({"has": {"CPU": 8.0}, "demand": [{"CPU": 2.0}]}, 4),
        ({"has": {"CPU": 8.0}, "demand": [{"CPU": 2.0}], "max_trials": 1}, 1),
        ({"has": {"CPU": 8.0}, "demand": [{}]}, 8),
        ({"has": {"CPU": 1.0}, "demand": [{"CPU": 2.0}]}, 0),
        ({"has": {"CPU": 8.0, "GPU": 2.0}, "demand": [{"GPU": 0.5}]}, 4),
    ],
)
def test_a_node_has_room_for_some_trials(more: dict[str, Any], num_trials: int) -> None:
    node = asked({"room": {}}, **more)
    assert node.facts["has"] == more["has"]
    assert (node.name, node.facts["num_trials"], node.facts["num_nodes"]) == (socket.gethostname(), num_trials, 1)
    ((level, found, _advice),) = about(node, "room")
    assert level == ("ok" if num_trials else "warning")
    assert {0: "no trial has room", 1: "one trial at once"}.get(num_trials, f": {num_trials} at once") in found


HERE = {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "bilin": __version__}


@pytest.mark.parametrize(
    ("other", "may_differ", "expected"),
    [
        ({}, {}, ["ok"]),
        ({"bilin": "2"}, {}, ["error", "ok"]),
        ({"ray": "0"}, {"torch": "they may"}, ["error", "ok"]),
        ({"ray": "0"}, {"ray": "they may"}, ["warning", "ok"]),
        ({"nothing": "1"}, {"nothing": "they may"}, ["error", "ok"]),
    ],
)
def test_another_version_is_an_error_unless_it_may_differ(
    other: dict[str, str], may_differ: dict[str, str], expected: list[str]
) -> None:
    found = list(probe.versions(NODE, {**HERE, **other}, may_differ))
    assert sorted(levels(found)) == sorted(expected)
    for name in other:
        (text,) = (text for level, text, _ in found if level != "ok")
        assert f"has {'no ' if name == 'nothing' else ''}{name}" in text


@pytest.mark.parametrize(
    ("report", "driver", "num_gpus", "wants_gpus", "level", "words"),
    [
        (CPU, "", 0, False, "ok", "no GPU"),
        (CPU, "", 2, False, "warning", "sees 0 of 2 GPUs"),
        (CPU, "570.1", 2, True, "error", "install a CUDA build"),
        (CPU, "", 2, True, "error", "finds no driver"),
        (TOO_OLD, "470.1", 1, True, "error", "too old"),
        (TWO, "570.1", 2, True, "ok", "2 × H200 (150 GB), at least 300 training steps/s each; torch 2.6, CUDA"),  # noqa: RUF001
        (TWO, "570.1", 2, True, "ok", "CUDA 12.8, driver 570.1 for CUDA up to 12.8"),
        (TWO, "570.1", 4, True, "error", "sees 2 of 4 GPUs"),
        (TWO | {"error": "out of memory"}, "570.1", 2, True, "error", "out of memory"),
    ],
)
def test_torch_and_the_gpus_that_are_given(
    report: dict[str, Any], driver: str, num_gpus: float, wants_gpus: bool, level: str, words: str
) -> None:
    found = probe.judge_torch(report, driver, num_gpus, wants_gpus=wants_gpus)
    assert found[0] == level
    assert words in f"{found[1]} {found[2]}"


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({}, 2),
        ({"CUDA_VISIBLE_DEVICES": "1"}, 1),
        ({"CUDA_VISIBLE_DEVICES": ""}, 0),
        ({"SLURM_JOB_ID": "7"}, 0),
        ({"SLURM_JOB_ID": "7", "SLURM_GPUS_ON_NODE": "4"}, 4),
    ],
)
def test_the_gpus_of_the_driver_count_unless_they_are_given_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], count: int
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_GPUS_ON_NODE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for address in ("0000:19:00.0", "0000:3b:00.0"):
        (tmp_path / "gpus" / address).mkdir(parents=True)
    assert host.num_gpus(tmp_path) == count


def test_the_rate_of_training_steps_is_measured() -> None:
    assert probe.steps_per_s("cpu", 0.01) > 0


def test_a_torch_that_cannot_be_loaded_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart.so.12 is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    node = asked({"torch": {"all_gpus": False, "wants_gpus": False}})
    ((level, found, advice),) = about(node, "torch")
    assert (level, advice) == ("error", "reinstall it there")
    assert found == "cannot be loaded: ImportError: libcudart.so.12 is missing"


def test_a_torch_that_ends_its_process_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("import os\nprint('loading', end=' ')\nos.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    checks = {"room": {}, "torch": {"all_gpus": False, "wants_gpus": False}}
    node = ask_here({"checks": checks, "demand": [{}]})["0"]
    (silent, room) = node.conclude("0", checks, None)
    assert (silent.check, silent.found) == ("answers", "no answer about torch (exit code -6)")
    assert (room.check, room.level) == ("room", "ok")


def test_what_libraries_print_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("print('loading', end=' ')\nraise OSError('no such GPU')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    node = asked({"torch": {"all_gpus": False, "wants_gpus": False}})
    assert [each.check for each in node.findings] == ["torch", "clock"]


def test_memory_for_ray_and_its_workers() -> None:
    def found(limit: int, num_trials: int) -> probe.Verdict:
        here = probe.Here(place="", name="", has={}, num_trials=num_trials)
        (only,) = probe.memory(here, limit, ray_bytes=100 * 2**20, advice="free some")
        return only

    assert levels([found(1001, 3), found(1001, 10), found(399, 1)]) == ["ok", "warning", "error"]
    assert "Ray and 3 trials" in found(1001, 3)[1]
    assert found(1001, 10)[2] == "there is enough for 3: free some"


def test_a_disk_that_is_nearly_full() -> None:
    assert [probe.disk_level(free) for free in (1e6, 5e8, 5e9)] == ["error", "warning", "ok"]
    (little,) = probe.shared_memory(NODE, needed=2**60)
    assert (little[0], "Ray uses a disk" in little[2]) == ("warning", True)
    assert levels(probe.shared_memory(NODE, needed=1)) == ["ok"]


def test_a_python_without_bilin_is_named() -> None:
    python, *words = command(sys.executable, {"checks": {}})
    ended = subprocess.run([python, "-I", "-S", *words[1:]], capture_output=True, text=True, check=False)
    assert last_error(ended.stderr) == f"bilin is not installed for {python}. Install bilin {__version__} there"


def test_a_bilin_without_this_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "bilin").mkdir()
    (tmp_path / "bilin/__init__.py").touch()
    python, *words = command(sys.executable, {"checks": {}})
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([python, "-S", *words], env=environment, capture_output=True, text=True, check=False)
    assert last_error(ended.stderr).startswith(f"has another bilin for {python}; here: {__version__}")


@pytest.mark.parametrize("program", ["probe", "ray_node", "guardian"])
def test_a_program_for_nodes_loads_the_standard_library_alone(program: str) -> None:
    modules = f"import sys, bilin.machine.{program}; print(*sorted(sys.modules))"
    ended = subprocess.run([sys.executable, "-P", "-c", modules], capture_output=True, text=True, check=True)
    rooms = {name.partition(".")[2].partition(".")[0] for name in ended.stdout.split() if name.startswith("bilin")}
    assert rooms <= {"", "errors", "machine", "units", "version"}
    assert not {"torch", "ray", "numpy", "duckdb", "pyarrow", "optuna"} & set(ended.stdout.split())


def test_a_long_finding_is_cut_so_that_slurm_does_not_mix_it_with_others(tmp_path: Path) -> None:
    own = {f"package-{number}": "1" for number in range(500)}
    words = command(sys.executable, {"checks": {"versions": {"own": {**HERE, **own}, "may_differ": {}}}})
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    assert max(map(len, ended.stdout.splitlines())) < 1024


def test_a_temp_directory_is_what_tmpdir_names_unless_ray_cannot_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 10)
    long.mkdir()
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as short:
        for root, expected in ((None, "/tmp"), (short, short), (str(long), "/tmp"), ("/none", "/tmp")):
            monkeypatch.setenv("TMPDIR", root) if root else monkeypatch.delenv("TMPDIR", raising=False)
            ((_level, found, _advice),) = probe.temp_directory(NODE, for_ray=True)
            assert found.startswith(f"{expected}: ")
        assert list(Path(short).iterdir()) == list(long.iterdir()) == []
        monkeypatch.setattr(ray_node, "LEAST_TEMP_BYTES", 2**60)
        ((level, found, _advice),) = probe.temp_directory(NODE, for_ray=True)
        assert (level, " MB free): set TMPDIR to a folder" in found) == ("error", True)


@ROOT
def test_a_tmp_and_a_shared_memory_that_are_read_only() -> None:
    read_only = "mount --bind $0 $0 && mount -o remount,bind,ro $0"
    for tmpdir, level, text in ((None, "error", "/tmp (Read-only file system)"), ("/mnt", "ok", "/mnt: ")):
        checks = command(sys.executable, {"checks": {"temp directory": {"for_ray": True}, "shared memory": {}}})
        mounts = " && ".join(f"sh -c '{read_only}' {path}" for path in ("/tmp", "/dev/shm"))
        environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}
        ended = subprocess.run(
            ["unshare", "--mount", "sh", "-c", f'{mounts} && mount -t tmpfs none /mnt && exec "$@"', "sh", *checks],
            env=environment | ({"TMPDIR": tmpdir} if tmpdir else {}),
            capture_output=True,
            text=True,
            check=True,
        )
        answers: dict[str, Answers] = {}
        read(ended.stdout.splitlines(), answers)
        ((found_level, found, _),) = about(answers["0"], "temp directory")
        assert (found_level, text in found) == (level, True)
        ((found_level, found, _),) = about(answers["0"], "shared memory")
        assert (found_level, found) == ("warning", "/dev/shm cannot be written: Read-only file system")


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
            words = command(sys.executable, {"checks": {"other nodes": {"folder": str(tmp_path)}}})
            nodes.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        answers: dict[str, Answers] = {}
        for each in nodes:
            read(each.communicate()[0].splitlines(), answers)
    for place in "01":
        ((level, found, _advice),) = about(answers[place], "other nodes")
        assert (level, found) == ("error", "no connection to third (127.0.0.1): Connection refused")


def test_ports_that_cannot_be_bound_are_an_error() -> None:
    assert list(probe.ports(NODE, "127.0.0.1", 16)) == [("ok", "16 bound at once on 127.0.0.1", "")]
    ((level, found, _advice),) = probe.ports(NODE, "192.0.2.1", 16)
    assert level == "error"
    assert found == "0 of 16 ports could be bound: Cannot assign requested address, on 192.0.2.1"


def test_memory_is_what_slurm_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(limit: int) -> str:
        ((_level, text, _advice),) = probe.memory(NODE, limit, ray_bytes=0, advice="")
        return text

    monkeypatch.setenv("SLURM_MEM_PER_NODE", "7")
    assert found(0).startswith("7.34 MB free")
    assert found(megabytes("5M")).startswith("5.24 MB free")
    assert [megabytes(text) for text in ("0", "1500", "2g", "4096K", "1T")] == [0, 1500, 2048, 4, 2**20]


def test_the_store_is_seen_written_and_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bilin.orchestrator.clusters.inquiry.APPEAR_S", 0.1)
    with open_beacon(tmp_path) as beacon:
        node = asked({"store": {"folder": str(beacon), "thorough": True}})
        seen, _clock = node.conclude("7", ["store"], beacon)
        assert (seen.level, seen.found.partition(";")[0]) == ("ok", "readable and writable from here and there")
        _clock, seen = node.conclude("b", ["store"], beacon)
        assert (seen.level, "another folder" in seen.found) == ("error", True), "what the node wrote is not seen here"
        assert probe.try_lock(Path(__file__)) == "taken"
        assert levels(probe.store(NODE, str(beacon), thorough=False)) == ["ok"]
        assert list(probe.store(NODE, str(tmp_path / "none"), thorough=True)) == [probe.other_store(tmp_path)]
    assert list(tmp_path.iterdir()) == []


@ROOT
def test_a_store_on_another_mount_and_one_that_is_read_only(tmp_path: Path) -> None:
    with open_beacon(tmp_path) as beacon:
        checks = {"checks": {"store": {"folder": str(beacon), "thorough": False}}}
        for mounts, words in (
            (f"mount -t tmpfs none {tmp_path}", "sees another folder"),
            (f"mount --bind {tmp_path} {tmp_path} && mount -o remount,bind,ro {tmp_path}", "Read-only file system"),
            (f"mount -t tmpfs none {tmp_path.parent}", "No such file or directory"),
        ):
            words_of = command(sys.executable, checks, place="7")
            there = ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *words_of]
            ended = subprocess.run(there, capture_output=True, text=True, check=True)
            answers: dict[str, Answers] = {}
            read(ended.stdout.splitlines(), answers)
            store = [each for each in answers["7"].conclude("7", ["store"], beacon) if each.check == "store"]
            ((level, found, advice),) = [(each.level, each.found, each.advice) for each in store]
            assert (level, words in found, bool(advice)) == ("error", True, True)
