"""docs/tutorial.md, followed step by step in a fresh folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parent.parent / "docs/tutorial.md"
TOLERANCE = 0.25
"""How far accuracies near chance may be from those shown: they depend on the processor."""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    for language, text in re.findall(r"```(\w+)\n(.*?)```", TUTORIAL.read_text(), re.DOTALL):
        if language == "yaml":
            (name,) = re.findall(r"^# (\S+)\n", text)
            (tmp_path / name).write_text(text)
        elif language == "python":
            run([sys.executable, "-c", text], tmp_path)
        elif language == "latex":
            assert same((tmp_path / "table.tex").read_text(), text)
        elif language == "console":
            for command, shown in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                printed = run(["bash", "-c", command], tmp_path)
                assert not shown or same(printed, shown), f"{command}\n{printed}"


def run(command: list[str], folder: Path) -> str:
    """The standard output of a command that must succeed; the `bilin` of this environment comes first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def same(printed: str, shown: str) -> bool:
    """Whether two outputs have the same words, and accuracies that are close; rules and intervals may differ."""
    latex = (text.replace("$-$", "-").replace(r"$\pm$", "±") for text in (printed, shown))
    left, right = (re.sub(r"± [\d.]+|\[[^]]*\]|-{3,}", "", text).split() for text in latex)
    return len(left) == len(right) and all(map(close, left, right))


def close(one: str, other: str) -> bool:
    decimal = re.compile(r"-?\d+\.\d+")
    if decimal.fullmatch(one) and decimal.fullmatch(other):
        return abs(float(one) - float(other)) <= TOLERANCE
    return one == other


def test_outputs_that_differ_are_told_apart() -> None:
    assert same("full  1.00 ± 0.10\n----\n", "full 0.98 ± 0.00\n-----\n")
    assert not same("full 1.00", "full 0.01")
    assert not same("8 done", "7 done")
    assert not same("8 done, 0 lost", "8 done")
