"""The sweep commands as a user types them, as processes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bilin.folder import SweepFolder
from bilin.orchestrator import ClusterSpec, launch
from bilin.results import query, stored
from tests.sweeps import bilin, contents, finish, wait_until, write_grid

GRID = """
name: first
tasks: [{name: modular_addition, m: [2, 3]}]
models: [{tier: real_diagonal, hidden: 4, embedding: 4}]
train: {steps: 20}
validate: {every: 10, lengths: [20], num_sequences: 16}
test: {lengths: [10, 50], num_sequences: 16}
learning_rate: {choices: [1e-2]}
"""
ENDLESS = GRID.replace("steps: 20", "steps: 100000000, stop_when_solved: false").replace("first", "endless")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished sweep."""
    folder = tmp_path_factory.mktemp("finished")
    launch(write_grid(folder, GRID), store=folder / "store", cluster=ClusterSpec(kind="inline"))
    return folder / "store"


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    return write_grid(tmp_path, GRID)


def test_plan_shows_what_would_run_and_writes_nothing(grid: Path) -> None:
    code, out, _ = finish(bilin("sweep", "plan", grid, "--store", grid.parent / "store"))
    assert code == 0
    assert "2 to run now" in out
    assert "m: 2, 3" in out
    assert "a trial takes  1 CPU" in out
    assert not (grid.parent / "store").exists()


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("auto", "of at most 16 trials; the trials have 2 shapes"),
        ("4", "of at most 4 trials"),
        ("off", "every trial trains"),
    ],
)
def test_the_size_of_packs_is_an_option(store: Path, grid: Path, size: str, said: str) -> None:
    assert said in finish(bilin("sweep", "plan", grid, "--store", grid.parent / "none", "--pack", size))[1]
    assert "0 to run now" in finish(bilin("sweep", "plan", grid, "--store", store, "--pack", size))[1]


def test_trials_use_a_gpu_that_is_there(grid: Path, tmp_path: Path) -> None:
    """With a torch that has CUDA by its metadata, and a GPU that CUDA_VISIBLE_DEVICES names."""
    metadata = tmp_path / "other" / "torch-2.99.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.99\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "other"), "CUDA_VISIBLE_DEVICES": "0"}
    command = [sys.executable, "-m", "bilin", "sweep", "plan", str(grid), "--store", str(tmp_path / "store")]
    for device, takes in (("auto", "1 CPU and 1 GPU\n"), ("cpu", "1 CPU\n")):
        words = [*command, "--set", f"resources.device={device}"]
        ended = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
        assert f"a trial takes  {takes}" in ended.stdout


def test_plan_does_not_load_torch(grid: Path) -> None:
    code = f"""
import sys
from bilin.orchestrator import plan
plan({str(grid)!r}, store="nowhere")
print({{"torch", "ray", "duckdb"}} & set(sys.modules))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "set()"


def test_a_finished_sweep_runs_nothing_and_says_what_was_found(store: Path, grid: Path) -> None:
    """And starts nothing: neither Ray nor torch is loaded."""
    code = f"""
import atexit, sys
sys.argv = ["bilin", "sweep", "launch", {str(grid)!r}, "--store", {str(store)!r}]
from bilin.cli.app import main
atexit.register(lambda: print({{"torch", "ray"}} & set(sys.modules)))
main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0
    assert "state   complete" in ended.stdout
    assert "trials  2 found in the store, 0 run\n" in ended.stdout
    assert ended.stdout.endswith("\nset()\n")


def test_status_and_list_read_the_store(store: Path) -> None:
    assert "complete" in finish(bilin("sweep", "status", "first", "--store", store))[1]
    assert finish(bilin("sweep", "list", "--store", store))[1].splitlines()[1].split()[:3] == ["first", "2", "2"]


@pytest.mark.parametrize("command", [("status", "first"), ("status",), ("list",)])
def test_status_and_list_print_json(store: Path, command: tuple[str, ...]) -> None:
    (found,) = json.loads(finish(bilin("sweep", *command, "--json", "--store", store))[1])
    assert (found["sweep"], found["state"], found["cells"]) == ("first", "complete", 2)
    assert (found["trials"], found["to_run"], found["running"]) == ({"done": 2}, 0, None)


def test_status_of_an_unknown_sweep_names_those_there(store: Path) -> None:
    code, out, err = finish(bilin("sweep", "status", "frist", "--store", store))
    assert (code, out) == (2, "")
    assert "first" in err


def test_show_gives_the_grid_that_repeats_a_trial(store: Path, tmp_path: Path) -> None:
    trial_id = query(store=store, view="trials")["trial_id"][0].as_py()
    shown = finish(bilin("sweep", "show", trial_id[:8], "--store", store))[1]
    assert trial_id in shown
    assert "--grid" in shown
    repeat = write_grid(tmp_path, finish(bilin("sweep", "show", trial_id, "--grid", "--store", store))[1])
    launch(repeat, store=tmp_path / "again", cluster=ClusterSpec(kind="inline"))
    again = [row.replace(f"repeat-{trial_id}", "first") for row in contents(tmp_path / "again")["curves"]]
    assert again == [row for row in contents(store)["curves"] if trial_id in row]


@pytest.mark.parametrize("digits", ["", "xyz", "'; --", "0000000000000000"])
def test_show_of_no_trial_is_the_users_error(store: Path, digits: str) -> None:
    assert finish(bilin("sweep", "show", digits, "--store", store))[0] == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--cluster", "slum"],
        ["--workers", "0"],
        ["--retry", "everything"],
        ["--set", "train.stepps=5"],
        ["--only", "m=7"],
        ["--pack", "two"],
        ["--pack", "0"],
        ["--cluster", "ray"],
        ["--address", "[::1"],
    ],
)
def test_wrong_options_exit_with_2_and_write_nothing(grid: Path, arguments: list[str]) -> None:
    code, out, err = finish(bilin("sweep", "launch", grid, "--store", grid.parent / "store", *arguments))
    assert (code, out) == (2, "")
    assert err.startswith("bilin: ")
    assert "Traceback" not in err
    assert not (grid.parent / "store").exists()


def test_a_cluster_that_is_not_there_exits_with_4(grid: Path) -> None:
    address = "127.0.0.1:1"
    code, _, err = finish(bilin("sweep", "launch", grid, "--store", grid.parent / "store", "--address", address))
    assert code == 4
    assert err.startswith("bilin: ")
    assert address in err
    assert not (grid.parent / "store").exists()


def test_a_store_without_a_name_and_a_grid_that_is_read_once_are_refused(grid: Path) -> None:
    code, _, err = finish(bilin("sweep", "plan", grid, "--store", ""))
    assert (code, "accepted: a directory" in err) == (2, True)
    code, _, err = finish(bilin("sweep", "launch", "-", "--store", grid.parent / "store", "--detach"))
    assert (code, "needs a grid file" in err) == (2, True)
    ended = subprocess.run(
        [sys.executable, "-m", "bilin", "sweep", "launch", "-"], input=b"\x7fELF\xff", capture_output=True, check=False
    )
    assert (ended.returncode, ended.stderr[:22]) == (2, b"bilin: standard input:")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("cluster", ["inline", pytest.param("local", marks=pytest.mark.ray)])
def test_an_interrupt_exits_with_3_and_says_how_to_go_on(tmp_path: Path, number: signal.Signals, cluster: str) -> None:
    grid = write_grid(tmp_path, ENDLESS)
    process = bilin("sweep", "launch", grid, "--store", tmp_path / "store", "--cluster", cluster)
    assert wait_until(SweepFolder(tmp_path / "store/endless").snapshot.exists, 120)
    process.send_signal(number)
    process.send_signal(number)  # a second one does not disturb the shutdown
    code, _, err = finish(process, 60)
    assert code == 3
    assert "0 trials of this launch ended, 2 left; the same command continues" in err
    assert stored(tmp_path / "store", "endless") == {}


def test_nohup_is_respected(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, ENDLESS)
    code = f"""
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.argv = ["bilin", "sweep", "launch", {str(grid)!r}, "--store", {str(tmp_path / "store")!r}, "--cluster", "inline"]
from bilin.cli.app import main
main()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    snapshot = SweepFolder(tmp_path / "store/endless").snapshot
    assert wait_until(snapshot.exists, 120)
    process.send_signal(signal.SIGHUP)
    before = snapshot.stat().st_mtime_ns
    assert wait_until(lambda: snapshot.stat().st_mtime_ns != before, 120), "it goes on to write"
    assert process.poll() is None
    process.kill()
    process.wait()


@pytest.mark.parametrize("store", ["/proc/no-such-folder", "grid.yaml/store"])
def test_a_store_that_cannot_be_made_is_one_message(grid: Path, store: str) -> None:
    code, _, err = finish(bilin("sweep", "launch", grid, "--store", grid.parent / store, "--cluster", "inline"))
    assert code == 2
    assert err.startswith("bilin: ")
    assert err.count("\n") == 1


def test_a_second_launch_says_who_runs_the_sweep(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, ENDLESS)
    command = ["sweep", "launch", grid, "--store", tmp_path / "store", "--cluster", "inline"]
    first = bilin(*command)
    assert wait_until((tmp_path / "store/endless/wanted.parquet").exists, 120)
    code, _, err = finish(bilin(*command))
    assert code == 2
    assert str(first.pid) in err
    assert str(first.pid) in finish(bilin("sweep", "status", "--store", tmp_path / "store"))[1]
    first.kill()
    first.communicate()
    third = bilin(*command)  # a lock that a dead process left is taken over at once
    assert wait_until(lambda: str(third.pid) in finish(bilin("sweep", "status", "--store", tmp_path / "store"))[1], 120)
    third.kill()
    third.communicate()


def test_a_terminal_gets_a_live_view(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, ENDLESS)
    leader, follower = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "bilin",
        "sweep",
        "launch",
        str(grid),
        "--store",
        str(tmp_path),
        "--cluster",
        "inline",
    ]
    process = subprocess.Popen(command, stdout=follower, stderr=follower, env={**os.environ, "TERM": "xterm"})
    os.close(follower)
    seen = b""
    while b"real_diagonal" not in seen and process.poll() is None:
        seen += os.read(leader, 4096)
    process.send_signal(signal.SIGINT)
    process.wait(15)
    os.close(leader)
    assert b"running" in seen
