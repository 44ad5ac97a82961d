"""How a sweep ends, as its user sees it: what failed, what to type next, and the same state everywhere."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bilin.results import query
from tests.sweeps import write_grid

CODE = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from bilin.fields import option
from bilin.models import Tier

@dataclass(frozen=True, slots=True, kw_only=True)
class Breaks(Tier):
    tier: ClassVar[str] = "breaks"
    act: str = option("well", doc="what it does")

    def build(self, *, vocab_size, num_classes):
        if self.act == "shape":
            torch.nn.Linear(2, 3)(torch.zeros(5))  # in torch's code
        from bilin.models.recurrent.lstm import LSTM
        return LSTM(hidden=self.hidden).build(vocab_size=vocab_size, num_classes=num_classes)
"""

GRID = """
name: ends
tasks: [{name: modular_addition, m: 2}]
models: [{tier: breaks, hidden: 4, act: [shape]}]
train: {steps: 4, batch_size: 4}
validate: {every: 2, lengths: [12], num_sequences: 4}
test: {lengths: [20], num_sequences: 4}
learning_rate: {choices: [1e-2, 1e-3]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a grid, and with a package whose tier may fail."""
    described = tmp_path / "breaks-0.1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: breaks\nVersion: 0.1.0\n")
    (described / "entry_points.txt").write_text("[bilin.models]\nbreaks = breaks:Breaks\n")
    (tmp_path / "breaks.py").write_text(CODE)
    write_grid(tmp_path, GRID)
    return tmp_path


def bilin(folder: Path, command: str) -> tuple[int, str, str]:
    """Run a command as it is typed in a folder."""
    ended = subprocess.run(
        [sys.executable, "-m", "bilin", *shlex.split(command)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def row(text: str, label: str) -> str:
    """The text beside a label."""
    return next(line.split(maxsplit=label.count(" ") + 1)[-1] for line in text.splitlines() if f"  {label} " in line)


def test_a_sweep_all_of_whose_trials_failed_is_failed_everywhere(folder: Path) -> None:
    code, out, err = bilin(folder, "sweep launch grid.yaml --cluster inline")
    trial_id = query(store=folder / "bilin-store", view="trials", sort="finished_at")["trial_id"][0].as_py()
    line = 1 + CODE.splitlines().index("            torch.nn.Linear(2, 3)(torch.zeros(5))  # in torch's code")
    place = f"at {folder / 'breaks.py'}:{line}, in build"
    assert code == 1
    assert f"{trial_id}: failed: RuntimeError: " in err
    assert f"  {place}\n  more: bilin sweep show {trial_id} --sweep ends\n" in err
    assert err.count("in build") == 1, "the same error once"
    assert place in out
    assert "results table" not in out, "there is nothing to see in it"

    state = "failed: no trial has a result"
    said = {
        "launch": out,
        "status": bilin(folder, "sweep status ends")[1],
        "list": bilin(folder, "sweep list")[1],
        "plan": bilin(folder, "sweep plan grid.yaml")[1],
        "table": bilin(folder, "results table")[2],
    }
    assert [where for where, text in said.items() if state not in text or "complete" in text] == []
    code, watched, _ = bilin(folder, "sweep watch ends")
    assert (code, state in watched) == (1, True)
    assert query(store=folder / "bilin-store")["lr"].to_pylist() == [None]


def test_the_commands_that_a_launch_names_work(folder: Path) -> None:
    out = bilin(folder, "sweep launch grid.yaml --cluster inline --set 'models.act=[shape, well]'")[1]
    assert "failed: some trials have no result" in out
    for label, shown in {"table": "breaks", "traceback": "breaks.py", "output": ""}.items():
        code, text, _ = bilin(folder, row(out, label).removeprefix("bilin "))
        assert (code, shown in text) == (0, True), label
    (folder / "breaks.py").write_text(CODE.replace('"shape"', '"never"'))
    again = row(out, "run again")
    assert again.endswith("--retry failed")
    code, out, _ = bilin(folder, again.removeprefix("bilin "))
    assert (code, row(out, "state"), row(out, "trials")) == (0, "complete", "2 found in the store, 2 run (2 done)")


@pytest.mark.parametrize("detach", ["", " --detach"])
def test_gpus_that_are_not_there_are_refused_and_nothing_is_left(folder: Path, detach: str) -> None:
    with (folder / "grid.yaml").open("a") as grid:
        grid.write("resources: {gpus: 64}\n")
    before = {*folder.iterdir()}
    code, out, err = bilin(folder, f"sweep launch grid.yaml --cluster inline --store new/store{detach}")
    assert (code, out) == (4, "")
    assert "a trial asks for 1 CPU and 64 GPUs, but this machine has " in err
    assert {*folder.iterdir()} == before
