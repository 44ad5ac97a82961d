"""From a grid to a finished table: bilin, and Ray Tune with OptunaSearch running the model as a user would write it.

    python -m benchmarks.time_to_table [--steps 2000] [--m 2 5] [--tier full rotation] [--json time_to_table.json]

All bilinear tiers at H = 64, three learning rates, two seeds, on two workers. Both run the same trials with the same
rule of ending: solved after two perfect evaluations in a row at the training lengths and beyond, every 250 steps.
Tune's trials use loops.py, with batches, evaluations and tests of the same sizes. Both times begin before Ray starts,
and end with the accuracy of each cell at length 500, at the learning rate with the best validation. Needs pandas:
`pip install '.[bench]'`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.loops import forward
from benchmarks.output import Table
from bilin.models import tier_settings
from bilin.results import query
from bilin.tasks.modular_addition import ModularAddition

TIERS: dict[str, dict[str, Any]] = {
    "full": {},
    "cp": {"rank": 64},
    "block_diagonal": {"block_size": 2},
    "rotation": {},
    "real_diagonal": {},
    "positive_diagonal": {},
}
LRS, SEEDS, HIDDEN, WORKERS = (1e-2, 3e-3, 1e-3), (0, 1), 64, 2
EVERY, VALIDATED, SEQUENCES = 250, ((2, 10), (53, 53), (101, 101), (211, 211), (401, 401), (797, 797)), 512
LENGTH = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="most steps of a trial")
    parser.add_argument("--m", type=int, nargs="+", default=[2, 5])
    parser.add_argument("--tier", nargs="+", choices=TIERS, default=list(TIERS))
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    found = {}
    for name, run in (("bilin", with_bilin), ("Ray Tune", with_tune)):
        began = time.perf_counter()
        accuracies = run(options.tier, options.m, options.steps)
        found[name] = {"seconds": time.perf_counter() - began, **accuracies}
    table = Table("", "bilin", "Ray Tune", "Ray Tune / bilin")
    for row, ours in found["bilin"].items():
        theirs = found["Ray Tune"][row]
        table.add(row, ours, theirs, theirs / ours if row == "seconds" else None)
    table.write(options.json)


def with_bilin(tiers: list[str], moduli: list[int], steps: int) -> dict[str, float]:
    """Run the grid with the command, and return the scaled accuracy of each cell."""
    grid = {
        "name": "time-to-table",
        "tasks": [{"name": "modular_addition", "m": moduli}],
        "models": [{"tier": tier, "hidden": HIDDEN, "embedding": HIDDEN, **TIERS[tier]} for tier in tiers],
        "train": {"steps": steps, "schedule": "constant"},
        "validate": {"every": EVERY, "num_sequences": SEQUENCES, "mixed_lengths": False},
        "test": {"lengths": [LENGTH], "num_sequences": SEQUENCES},
        "learning_rate": {"choices": list(LRS)},
        "seeds": list(SEEDS),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.yaml"
        path.write_text(repr(grid))  # a literal of Python with such values is YAML
        command = [sys.executable, "-m", "bilin", "sweep", "launch", str(path), "--store", folder]
        subprocess.run([*command, "--workers", str(WORKERS)], check=True, stdout=sys.stderr)
        cells = query("SELECT tier, m, mean FROM cells ORDER BY m", store=folder).to_pylist()
    return {f"{cell['tier']}, m = {cell['m']}": cell["mean"] for cell in cells}


def with_tune(tiers: list[str], moduli: list[int], steps: int) -> dict[str, float]:
    """Run the same trials with Tune, and return the scaled accuracy of each cell."""
    from optuna.samplers import GridSampler
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    space: dict[str, Any] = {"tier": tiers, "m": moduli, "lr": list(LRS), "seed": list(SEEDS)}
    count = len(tiers) * len(moduli) * len(LRS) * len(SEEDS)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_parameters(trainable(), steps=steps),
            param_space={name: tune.choice(values) for name, values in space.items()},
            tune_config=tune.TuneConfig(
                search_alg=OptunaSearch(sampler=GridSampler(space), metric="validation", mode="max"),
                num_samples=count,
                max_concurrent_trials=WORKERS,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        rows = tuner.fit().get_dataframe()
    rows.columns = [name.removeprefix("config/") for name in rows.columns]
    by_rate = rows.groupby(["tier", "m", "lr"])[["validation", "accuracy"]].mean().reset_index()
    best = by_rate.sort_values("validation").groupby(["m", "tier"]).last().reset_index()
    return {f"{row.tier}, m = {row.m}": (row.accuracy - 1 / row.m) / (1 - 1 / row.m) for row in best.itertuples()}


def trainable() -> type:
    """Return the class of a trial of Tune; a step of it ends with an evaluation."""
    from ray import tune

    class Trial(tune.Trainable):
        def setup(self, config: dict[str, Any], steps: int) -> None:
            torch.set_num_threads(1)
            self.steps = steps
            self.reset_config(config)

        def reset_config(self, config: dict[str, Any]) -> bool:
            torch.manual_seed(config["seed"])
            self.done_steps, self.perfect = 0, 0
            self.generator = torch.Generator().manual_seed(config["seed"])
            self.task, tier = ModularAddition(m=config["m"]), config["tier"]
            settings = tier_settings(tier)(hidden=HIDDEN, embedding=HIDDEN, **TIERS[tier])
            self.module = settings.build(vocab_size=config["m"], num_classes=config["m"])
            self.optimizer = torch.optim.Adam(self.module.parameters(), lr=config["lr"])
            return True

        def step(self) -> dict[str, Any]:
            self.module.train()
            for _ in range(min(EVERY, self.steps - self.done_steps)):
                batch = self.draw((2, 10), 64)
                self.optimizer.zero_grad()
                nn.functional.cross_entropy(forward(self.module, batch), batch.answers).backward()
                self.optimizer.step()
                self.done_steps += 1
            validation = self.validate()
            self.perfect = self.perfect + 1 if validation == 1 else 0
            is_over = self.perfect == 2 or self.done_steps == self.steps
            accuracy = self.accuracy((LENGTH, LENGTH)) if is_over else None
            return {"validation": validation, "accuracy": accuracy, "done": is_over}

        def validate(self) -> float:
            """Return the lowest accuracy, up to the first length where it is not perfect, or at all at the end."""
            found = []
            for lengths in VALIDATED:
                found.append(self.accuracy(lengths))
                if found[-1] < 1 and self.done_steps < self.steps:
                    break
            return min(found)

        @torch.no_grad()
        def accuracy(self, lengths: tuple[int, int]) -> float:
            self.module.eval()
            batch = self.draw(lengths, SEQUENCES)
            right: float = (forward(self.module, batch).argmax(1) == batch.answers).double().mean().item()
            return right

        def draw(self, lengths: tuple[int, int], count: int) -> Any:
            drawn = torch.randint(lengths[0], lengths[1] + 1, (count,), generator=self.generator)
            return self.task.sample(drawn, self.generator)

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            return None

        def load_checkpoint(self, checkpoint: object) -> None:
            return None

    return Trial


if __name__ == "__main__":
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    main()
