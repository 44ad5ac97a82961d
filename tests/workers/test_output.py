"""What trials print, in the files beside the store: real processes, real signals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bilin.folder import SweepFolder
from bilin.workers.output import KEPT_BYTES, Outputs, copied

CAPTURE = """
import os, subprocess, sys, warnings
from pathlib import Path
from bilin.folder import SweepFolder
from bilin.workers.output import Capture, Outputs
outputs = Outputs(SweepFolder(Path(sys.argv[1])))
capture = Capture(outputs, "w")
def trial(name, printed):
    with capture.capture(name):
        printed()
"""


def worker(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """A process that captures what it prints, and then runs the code."""
    command = [sys.executable, "-c", CAPTURE + code, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def printed(path: Path) -> str:
    """What stands below the lines that say who wrote."""
    return "".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith("--- "))


def test_all_that_a_trial_prints_is_in_its_file_and_nothing_else(tmp_path: Path) -> None:
    ended = worker(
        tmp_path,
        """
print("before")
def loud():
    print("python", flush=True)
    os.write(2, b"below\\n")
    subprocess.run(["echo", "child"])
trial("loud", loud)
trial("quiet", lambda: None)
trial("warns", lambda: warnings.warn("careful"))
print("after")
""",
    )
    assert ended.stdout == "before\nafter\n"
    assert (ended.stderr, ended.returncode) == ("", 0)
    logs = tmp_path / "logs"
    assert sorted(path.name for path in logs.iterdir()) == [".w", "loud.log", "warns.log"]
    assert printed(logs / "loud.log") == "python\nbelow\nchild\n"
    assert "UserWarning: careful" in printed(logs / "warns.log")
    assert (logs / ".w").stat().st_size == 0


def test_attempts_stand_one_after_the_other(tmp_path: Path) -> None:
    for _ in range(2):
        worker(tmp_path, 'trial("a", lambda: print("once"))')
    text = (tmp_path / "logs" / "a.log").read_text()
    assert printed(tmp_path / "logs" / "a.log") == "once\nonce\n"
    assert text.count("--- ") == 2
    assert ", process " in text


def test_what_a_killed_process_printed_is_kept(tmp_path: Path) -> None:
    worker(tmp_path, 'trial("a", lambda: (print("last", flush=True), os.kill(os.getpid(), 9)))')
    outputs = Outputs(SweepFolder(tmp_path))
    assert outputs.last_words("a", "w", None) == "last\n"
    assert printed(outputs.folder.trial_log("a")) == "last\n"
    with outputs:
        pass
    assert [path.name for path in outputs.folder.logs.iterdir()] == ["a.log"]


def test_the_last_words_are_those_of_the_process_that_died(tmp_path: Path) -> None:
    worker(tmp_path, 'trial("a", lambda: (print("once"), capture.move(), os.kill(os.getpid(), 7)))')
    outputs = Outputs(SweepFolder(tmp_path))
    pid = int(outputs.folder.trial_log("a").read_text().partition("process ")[2].partition("\n")[0])
    assert outputs.last_words("a", "w", pid) == "once\n"
    assert outputs.last_words("a", "w", pid + 1) == ""


def test_the_end_of_much_output_is_kept(tmp_path: Path) -> None:
    worker(tmp_path, 'trial("a", lambda: [(print("x" * 2**19), print(n), capture.move()) for n in range(9)])')
    path = tmp_path / "logs" / "a.log"
    assert path.stat().st_size < KEPT_BYTES + 200
    assert "bytes before this are left out" in path.read_text()
    assert path.read_text().endswith("\n8\n")


def test_a_folder_that_cannot_be_made_leaves_the_streams_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    assert worker(tmp_path, 'trial("a", lambda: print("seen"))').stdout == "seen\n"


def test_in_this_process_what_is_printed_goes_to_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "logs" / "a.log"
    with copied(path):
        pass
    assert not path.exists()
    before = sys.stdout
    with copied(path):
        print("out")
        print("err", file=sys.stderr)
        sys.stdout.writelines(["more\n"])
    assert printed(path) == "out\nerr\nmore\n"
    assert capsys.readouterr() == ("out\nmore\n", "err\n")
    assert sys.stdout is before


def test_files_honour_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with copied(tmp_path / "a.log"):
            print("out")
    finally:
        os.umask(before)
    assert (tmp_path / "a.log").stat().st_mode & 0o777 == 0o600
