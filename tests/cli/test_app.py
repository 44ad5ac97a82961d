from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bilin.version import __version__
from tests.sweeps import bilin, finish

HEAVY = {"torch", "ray", "optuna", "duckdb", "pyarrow", "numpy", "pandas", "matplotlib", "scipy", "ruamel"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["sweep", "launch", "--help"], ["results", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import atexit, sys
from bilin.cli.app import main
sys.argv = ["bilin", *{arguments!r}]
atexit.register(lambda: print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr))
main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (0, "[]")


def test_version_is_printed() -> None:
    assert finish(bilin("--version")) == (0, f"bilin {__version__}\n", "")


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("sweeep", "'sweep'?"),
        ("results qurey", "'query'?"),
        ("results shwo", "`bilin results query` or `bilin sweep show` or"),
        ("results exprot", "'export', 'plot'?"),
        ("sweep export", "`bilin results export`?"),
        ("launch", "`bilin sweep launch`?"),
        ("table", "`bilin results table`?"),
        ("models list", "`bilin models`?"),
        ("sweep frobnicate", "No such command 'frobnicate'."),
    ],
)
def test_an_unknown_command_exits_with_2_and_names_the_nearest_one(command: str, meant: str) -> None:
    code, _, err = finish(bilin(*command.split()))
    said = " ".join(err.replace("│", " ").split())
    assert (code, meant in said) == (2, True)
    assert ("Did you mean" in said) == ("frobnicate" not in command)


def test_an_interrupt_within_an_import_keeps_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(
        """
from bilin.cli import app
from bilin.errors import InterruptedSweepError

def interrupted() -> None:
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        raise InterruptedSweepError("stopped") from None

app.app = interrupted
app.main()
"""
    )
    command = [sys.executable, "-m", "interrupted"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 3
