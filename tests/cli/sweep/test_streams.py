"""Standard output and error that cannot be written, and trials that misbehave, while a sweep runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bilin.results import query
from tests.sweeps import finish, write_grid

pytestmark = [
    pytest.mark.skipif(not shutil.which("bash"), reason="needs bash for its redirections"),
    pytest.mark.timeout(600),
]

GRID = """
name: first
tasks: [{name: modular_addition, m: [2, 3]}]
models: [{tier: real_diagonal, hidden: 4, embedding: 4}]
train: {steps: 20}
validate: {every: 10, lengths: [20], num_sequences: 16}
test: {lengths: [10, 50], num_sequences: 16}
learning_rate: {choices: [1e-2]}
"""

ZOO = """
import atexit, os, sys, threading, time
from dataclasses import dataclass
from typing import ClassVar
from bilin.fields import option
from bilin.models import Tier

class NoText(RuntimeError):
    def __str__(self):
        raise ValueError("no text")

class Stop(BaseException):
    pass

def refuse():
    raise SystemExit(7)

@dataclass(frozen=True, slots=True, kw_only=True)
class Zoo(Tier):
    tier: ClassVar[str] = "zoo"
    act: str = option("well", doc="what it does")

    def build(self, *, vocab_size, num_classes):
        match self.act:
            case "text":
                raise NoText("x")
            case "stop":
                raise Stop("early stopping")
            case "interrupt":
                raise KeyboardInterrupt
            case "close":
                sys.stdout.close()
                os.close(2)
                time.sleep(1)  # reports come meanwhile, from the trials before
            case "thread":
                threading.Thread(target=threading.Event().wait).start()
            case "exit":
                atexit.register(refuse)
        from bilin.models.recurrent.lstm import LSTM
        return LSTM(hidden=self.hidden).build(vocab_size=vocab_size, num_classes=num_classes)
"""


def launch(grid: Path, redirection: str = "", **environment: str) -> tuple[int, str, str]:
    """Launch a grid in process, from a shell that redirects its output; return how that ended."""
    command = f'exec "$0" -m bilin sweep launch {grid} --store {grid.parent / "store"} --cluster inline {redirection}'
    process = subprocess.Popen(
        ["bash", "-c", command, sys.executable],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    return finish(process, 300)


def statuses(store: Path) -> list[str]:
    return query(store=store, view="trials")["status"].to_pylist()


@pytest.mark.parametrize("redirection", ["2> /dev/full", "2>&-", "2> >(:)"], ids=["full", "closed", "broken pipe"])
def test_a_launch_goes_on_if_standard_error_cannot_be_written(tmp_path: Path, redirection: str) -> None:
    code, out, _ = launch(write_grid(tmp_path, GRID), redirection)
    table = f"bilin results table --sweep first --store {tmp_path / 'store'}"
    trials = "0 found in the store, 2 run (2 done)"
    assert (code, out) == (0, f"first\n  state   complete\n  trials  {trials}\n  table   {table}\n")
    assert statuses(tmp_path / "store") == ["done", "done"]


@pytest.mark.parametrize("redirection", ["> /dev/full", ">&-"], ids=["full", "closed"])
def test_results_are_stored_if_standard_output_cannot_be_written(tmp_path: Path, redirection: str) -> None:
    code, _, err = launch(write_grid(tmp_path, GRID), redirection)
    assert code == 1
    assert "bilin: standard output cannot be written" in err
    assert "Traceback" not in err
    assert statuses(tmp_path / "store") == ["done", "done"]


def test_trials_that_misbehave_neither_end_the_sweep_nor_keep_its_process(tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text(ZOO)
    described = tmp_path / "zoo-0.1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo\nVersion: 0.1.0\n")
    (described / "entry_points.txt").write_text("[bilin.models]\nzoo = zoo:Zoo\n")
    models = "models: [{tier: zoo, hidden: 8, act: [text, stop, interrupt, close, thread, exit, well]}]"
    grid = write_grid(
        tmp_path,
        GRID.replace("m: [2, 3]", "m: 2").replace("models: [{tier: real_diagonal, hidden: 4, embedding: 4}]", models),
    )
    code, out, err = launch(grid, PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert code == 1
    assert "7 run (4 done, 3 failed)" in out
    assert "NoText: its message raises ValueError" in err
    assert sorted(statuses(tmp_path / "store")) == ["done"] * 4 + ["failed"] * 3
