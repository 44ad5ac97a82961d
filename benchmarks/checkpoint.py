"""Cost of a checkpoint: size on disk, and seconds to save and load it compared with a training step.

    python -m benchmarks.checkpoint [--folder .]

Choose a folder on the disk where your stores are: most of the cost is the time that a file takes to reach the disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from bilin.folder import SweepFolder
from bilin.models import tier_settings
from bilin.spec import Cell, Resources, TestSpec, TrainSpec, TrialSpec, ValidateSpec
from bilin.tasks.random_state_machine import RandomStateMachine
from bilin.workers.training.checkpoint import Checkpoints
from bilin.workers.training.state import TrialState, batches_at, start
from bilin.workers.training.step import Stacks

TIERS = {"full": {}, "cp": {"rank": 256}, "rotation": {}, "lstm": {}}
STEPS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path())
    folder = parser.parse_args().folder
    torch.set_num_threads(1)
    print(f"{'tier':10} {'params':>12} {'MB':>8} {'save s':>8} {'load s':>10} {'step s':>8} {'share at 300 s':>15}")
    for tier, fields in TIERS.items():
        with tempfile.TemporaryDirectory(dir=folder) as kept:
            print(line(tier, fields, Path(kept)))


def line(tier: str, fields: dict[str, int], kept: Path) -> str:
    """Return a line for one tier at width 256, as in the published grids, on a machine with ten states."""
    model = tier_settings(tier)(hidden=256, embedding=256, **fields)
    cell = Cell(task=RandomStateMachine(m=10), model=model, train=TrainSpec(), validate=ValidateSpec())
    spec = TrialSpec(cell=cell, lr=1e-4, seed=0, test=TestSpec(), resources=Resources())
    state = start(spec, torch.device("cpu"))
    stacks, checkpoints = Stacks(), Checkpoints(SweepFolder(kept), period_s=0.0)

    def step() -> None:
        stacks.step([state], batches_at(state)[:1])

    def step_and_keep() -> None:
        step()
        assert checkpoints.write_if_due(spec, state)

    start_s = seconds(lambda: begin(checkpoints, spec, state))
    with checkpoints.running(spec, state):
        step_s = seconds(lambda: [step() for _ in range(STEPS)]) / STEPS
        keep_s = seconds(step_and_keep) - step_s
    take_s = seconds(lambda: begin(checkpoints, spec, state)) - start_s
    (file,) = checkpoints.sweep.checkpoints.iterdir()
    params, size = sum(weight.numel() for weight in state.model.parameters()), file.stat().st_size / 1e6
    return f"{tier:10} {params:12,} {size:8.1f} {keep_s:8.3f} {take_s:10.3f} {step_s:8.4f} {keep_s / 300:15.3%}"


def begin(checkpoints: Checkpoints, spec: TrialSpec, state: TrialState) -> None:
    """Continue from the checkpoint, if there is one."""
    with checkpoints.running(spec, state):
        pass


def seconds(call: object) -> float:
    """Return the duration of a call, the shortest of three."""
    assert callable(call)
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


if __name__ == "__main__":
    main()
