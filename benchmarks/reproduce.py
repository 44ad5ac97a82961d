"""Run the published tables under a time budget. Repeat it as often as you like: it continues where it stopped.

    make reproduce BUDGET_MIN=100                  or   python -m benchmarks.reproduce --budget-min 100
    make reproduce PROTOCOL=published              or   python -m benchmarks.reproduce --protocol published

The stages are grids of examples/, run one after the other into one store, each first with one seed and then with all
seeds. At the end of the budget, the running trials write checkpoints and the launch ends. `--protocol published` runs
the published protocol without a change: 100,000 steps, a constant learning rate, three rates, no normalization in
training, no early end. Without a GPU, it only prints the plan, with what it costs by the steps measured so far.

`python -m benchmarks.reproduction` writes the results into docs/reproduction.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bilin.orchestrator.grid import Grid, read_grid
from bilin.results import query

ROOT = Path(__file__).parent.parent
STORE = ROOT / "reproduction"
LAUNCHES = "launches.jsonl"
"""A line for each launch of the campaign: its stage, its seconds, and its exit code."""

STAGES = (
    "reproduce_1_solved",
    "reproduce_2_unsolved",
    "modular_arithmetic",
    "arithmetic_limits",
    "rotation_ablation",
    "rotation_lengths",
    "reproduce_3_lstm",
    "reproduce_4_baselines",
    "reproduce_5_groups",
    "reproduce_6_copying",
    "ending_rule",
    "curves",
)
PUBLISHED = ("paper_modular_addition", "paper_random_state_machine")

ONE_SEED = ("--set", "seeds=[0]")
COMPLETE, SOME_FAILED, INTERRUPTED = 0, 1, 3
"""Exit codes of a launch after which the campaign goes on, or ends at its deadline; others are errors."""

STEP_S = """
    SELECT task, tier, layers, m, avg((wall_s - test_s) / steps) AS step_s
    FROM trials WHERE status = 'done' AND steps > 0 AND sweep <> 'hierarchy' GROUP BY ALL
"""
"""The seconds of a step; docs/hierarchy.md has smaller models, in the same store."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget-min", type=float, default=100, help="minutes; by default 100")
    parser.add_argument("--protocol", choices=["budget", "published"], default="budget")
    parser.add_argument("--stage", action="append", choices=STAGES, help="run this stage alone; repeatable")
    parser.add_argument("--one-seed", action="store_true", help="leave the other seeds for later")
    parser.add_argument("--store", type=Path, default=STORE)
    parser.add_argument("--workers", help="trials at once; by default as many as the CPUs or GPUs allow")
    args = parser.parse_args()
    if not args.budget_min > 0:
        parser.error(f"found --budget-min {args.budget_min:g}; accepted: a number of minutes above 0")
    where = ["--workers", args.workers] if args.workers else []
    try:
        campaign = Campaign(args.store, where, deadline=time.monotonic() + 60 * args.budget_min)
    except OSError as error:
        parser.error(f"{args.store} cannot be a store ({error.strerror}); name another folder with --store")
    try:
        if args.protocol == "budget":
            campaign.run(args.stage or STAGES, passes=[ONE_SEED] if args.one_seed else [ONE_SEED, ()])
        elif print_cost(args.store):
            campaign.run(PUBLISHED, passes=[()])
    except KeyboardInterrupt:
        print("interrupted; the same command continues from here", file=sys.stderr)
        sys.exit(INTERRUPTED)


class Campaign:
    """Launches of grids into one store, until a deadline."""

    def __init__(self, store: Path, where: Sequence[str], *, deadline: float) -> None:
        self.store, self.where, self.deadline = store, where, deadline
        self.store.mkdir(parents=True, exist_ok=True)

    def run(self, stages: Sequence[str], passes: Sequence[Sequence[str]]) -> None:
        """Launch what is missing in each stage, as long as there is time."""
        for stage in stages:
            for options in passes:
                if not self.is_missing(stage, options):
                    continue
                code = INTERRUPTED if time.monotonic() > self.deadline else self.launch(stage, options)
                if code == INTERRUPTED:
                    print(f"the budget ended in {stage}; the same command continues from here")
                    return
                if code not in (COMPLETE, SOME_FAILED):
                    sys.exit(code)
        print("every stage is complete")

    def is_missing(self, stage: str, options: Sequence[str]) -> bool:
        """Whether a launch would run trials. A launch of fewer seeds would hide the results of the others."""
        plan = subprocess.run(self.command("plan", stage, *options, "--json"), stdout=subprocess.PIPE)
        if plan.returncode:
            sys.exit(plan.returncode)
        return bool(json.loads(plan.stdout)["to_run"])

    def launch(self, stage: str, options: Sequence[str]) -> int:
        """Launch a stage, end the launch at the deadline, and return its exit code."""
        print(f"== {stage} {' '.join(options)}", flush=True)
        started = time.monotonic()
        process = subprocess.Popen(self.command("launch", stage, *options, *self.where))
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, self.deadline - started))
        finally:  # also after Ctrl-C
            process.send_signal(signal.SIGINT)  # if it still runs: running trials write checkpoints
            code = process.wait()
            code = INTERRUPTED if code == -signal.SIGINT else code  # it ended before it could take the signal
            line = {"stage": stage, "seconds": round(time.monotonic() - started), "exit_code": code}
            with (self.store / LAUNCHES).open("a") as file:
                file.write(json.dumps(line) + "\n")
        return code

    def command(self, name: str, stage: str, *options: str) -> list[str]:
        """A command of `bilin sweep` on the grid of a stage."""
        grid = ROOT / "examples" / f"{stage}.yaml"
        return [sys.executable, "-m", "bilin", "sweep", name, str(grid), "--store", str(self.store), *options]


def print_cost(store: Path) -> bool:
    """Print what the published protocol costs, and return whether there is a GPU to run it on."""
    place = os.path.relpath(store)
    measured = query(STEP_S, store=store, everything=True).to_pylist() if store.exists() else []
    for name in PUBLISHED:
        grid = read_grid(ROOT / "examples" / f"{name}.yaml")
        num_trials, hours, num_unknown = cost(grid, measured)
        unknown = f", and {num_unknown} trials of models that were not measured" if num_unknown else ""
        print(f"{name}: {num_trials} trials of {grid.cells[0].cell.train.steps:,} steps")
        print(f"    {hours:,.0f} core-hours by the steps measured in {place}/{unknown}")
    if shutil.which("nvidia-smi"):
        return True
    print("This machine has no GPU, so nothing is run. To run it all the same:")
    print(*(f"    bilin sweep launch examples/{name}.yaml --store {place}" for name in PUBLISHED), sep="\n")
    return False


def cost(grid: Grid, measured: Sequence[Mapping[str, object]]) -> tuple[int, float, int]:
    """Return the trials of a grid, the core-hours of those whose step was measured, and how many were not.

    Where only other m of a model were measured, their mean counts.
    """
    num_trials = num_unknown = 0
    seconds = 0.0
    for wanted in grid.cells:
        cell, count = wanted.cell, wanted.max_trials
        model = {"tier": cell.model.tier, "layers": getattr(cell.model, "layers", None)}
        of_model = [row for row in measured if model.items() <= row.items()]
        same = [row for row in of_model if row["task"] == cell.task.name and row["m"] == getattr(cell.task, "m", None)]
        steps = [float(str(row["step_s"])) for row in same or of_model]
        num_trials += count
        num_unknown += 0 if steps else count
        seconds += count * cell.train.steps * sum(steps) / len(steps) if steps else 0.0
    return num_trials, seconds / 3600, num_unknown


if __name__ == "__main__":
    main()
