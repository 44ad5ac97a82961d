"""Trials that train as one program: member steps a second for stacks of several sizes.

    python -m benchmarks.packing [--hidden 64] [--m 5] [--sizes 1 4 16 64] [--tier full lstm] [--json packing.json]
                                 [--device cuda]

A step is what a trial does: draw 64 sequences of 2 to 10 tokens, forward, loss, backward, Adam; with one thread. A
stack of 1 is a lone trial. On a GPU, steps are replayed as CUDA graphs. The sizes take turns. Prints member steps a
second, at the shortest times, the ratio of the best size to a lone trial, and whether a trial has the same bits in a
stack as alone. If it has not, bilin trains it alone on a CPU, unless the grid sets a size.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.output import Table
from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.spec import Cell, Resources, TestSpec, TrainSpec, TrialSpec, ValidateSpec
from bilin.tasks.modular_addition import ModularAddition
from bilin.workers.training.graph import Programs
from bilin.workers.training.pack import differs_in_a_stack
from bilin.workers.training.state import batches_at, start
from bilin.workers.training.step import Stacks

STEPS = 4
FIELDS: dict[str, dict[str, Any]] = {"cp": {"rank": 64}, "block_diagonal": {"block_size": 2}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=64, help="width of state and embedding")
    parser.add_argument("--m", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--tier", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each tier and size")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    print(f"H = {options.hidden}, m = {options.m}, member steps a second, {name_of(device)}")
    table = Table("tier", *map(str, options.sizes), "best / first", "same bits")
    for name in options.tier:
        trial = spec(name, options.hidden, options.m)
        rates = measure({size: steps_of(trial, size, device) for size in options.sizes}, options.seconds)
        same_bits = "no" if differs_in_a_stack(trial, device) else "yes"
        table.add(name, *rates.values(), max(rates.values()) / rates[options.sizes[0]], same_bits)
    table.write(options.json)


def spec(name: str, hidden: int, m: int) -> TrialSpec:
    """Return a trial of a tier in which everything that can be of the width is."""
    kind = tier_settings(name)
    width = {"hidden": hidden} | ({"embedding": hidden} if "embedding" in fields_of(kind) else {})
    cell = Cell(
        task=ModularAddition(m=m),
        model=kind(**width, **FIELDS.get(name, {})),
        train=TrainSpec(),
        validate=ValidateSpec(),
    )
    return TrialSpec(cell=cell, lr=1e-5, seed=0, test=TestSpec(), resources=Resources())


def steps_of(trial: TrialSpec, size: int, device: torch.device, *, graph: bool = True) -> Callable[[], None]:
    """Return a function that makes some steps of each of some trials, as one program."""
    states = [start(trial, device) for _ in range(size)]
    stacks = Programs() if graph and device.type == "cuda" else Stacks()

    def steps() -> None:
        for _ in range(STEPS):
            stacks.step(states, [batches_at(state)[0] for state in states])
        if device.type == "cuda":
            torch.cuda.synchronize()

    return steps


def measure(steps: dict[int, Callable[[], None]], seconds: float) -> dict[int, float]:
    """Return member steps a second for each size. A few steps are one measurement, since only some of them draw."""
    shortest = dict.fromkeys(steps, float("inf"))
    for step in steps.values():
        step()
    started = time.perf_counter()
    while time.perf_counter() - started < seconds * len(steps):
        for size, step in steps.items():
            before = time.perf_counter()
            step()
            shortest[size] = min(shortest[size], (time.perf_counter() - before) / STEPS)
    return {size: size / shortest[size] for size in steps}


def name_of(device: torch.device) -> str:
    """Return the name of a device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


if __name__ == "__main__":
    main()
