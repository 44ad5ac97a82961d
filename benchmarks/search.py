"""The search for a learning rate against others, on simulated cells.

    .venv/bin/python benchmarks/search.py [CELLS] [SEARCH …]

Each cell has a landscape: the accuracy and the loss at each learning rate, and a rate above which training diverges.
Every search tries 12 rates between 1e-5 and 1e-2, in rounds of 4. The rate with the best result is selected. Its score
is the true accuracy there, scaled so that chance is 0 and the best rate of the landscape is 1. The table shows the mean
score, and the share of cells whose score is at least 0.95.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import optuna

from bilin.orchestrator.grid import parse_grid
from bilin.orchestrator.planning.search import decide
from bilin.rules import Outcome, select_point

LOW, HIGH = 1e-5, 1e-2
NUM_LRS, ROUND = 12, 4
DECADES = math.log10(HIGH / LOW)
SPACE = {"lr": optuna.distributions.FloatDistribution(LOW, HIGH, log=True)}
GRID = f"""
name: search
tasks: [{{name: modular_addition, m: {{m}}}}]
models: [{{tier: full}}]
learning_rate: {{log_uniform: [{LOW}, {HIGH}], trials: {NUM_LRS}, round: {ROUND}, sampler: {{sampler}}}}
"""
GOOD = 0.95


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A simulated cell.

    Attributes:
        num_classes: Chance is one in this number.
        centre: The best learning rate, as its decimal logarithm.
        top: The learning rate above which training diverges, likewise.
        skill: Scaled accuracy by the distance from the centre, in decades.
        noise: Standard deviation of the accuracy over the seeds.
    """

    number: int
    num_classes: int
    centre: float
    top: float
    skill: Callable[[float], float]
    noise: float = 0.0

    def score(self, lr: float) -> float:
        """Return the true scaled accuracy at a learning rate."""
        position = math.log10(lr)
        return 0.0 if position > self.top else self.skill(abs(position - self.centre))

    def train(self, lr: float) -> Outcome:
        """Return the outcome of a trial at a learning rate."""
        position, chance = math.log10(lr), 1 / self.num_classes
        noise = random.Random(f"{self.number} {lr}").gauss(0, self.noise) if self.noise else 0.0
        accuracy = min(max(chance + (1 - chance) * self.score(lr) + noise, 0.0), 1.0)
        loss = 0.02 + 1.5 * (1 - math.exp(-(((position - self.centre) / 0.6) ** 2) / 2))
        return Outcome(lr, 0, position <= self.top, accuracy == 1.0, accuracy, loss)


def bump(number: int, *, num_classes: int = 1000, noise: float = 0.0) -> Cell:
    """Return a cell whose accuracy falls off on both sides of the best learning rate."""
    draw = random.Random(number)
    centre, width = draw.uniform(-4.7, -2.3), draw.choice([0.15, 0.25, 0.4])
    top = centre + draw.uniform(0.2, 0.6)
    skill = lambda distance: math.exp(-((distance / width) ** 2) / 2)  # noqa: E731
    return Cell(number=number, num_classes=num_classes, centre=centre, top=top, skill=skill, noise=noise)


def plateau(number: int) -> Cell:
    """Return a cell that many learning rates solve."""
    draw = random.Random(number)
    centre, width = draw.uniform(-4.5, -2.5), draw.uniform(0.15, 0.5)
    skill = lambda distance: min(1.0, max(0.0, 1 - (distance - width) / 0.5))  # noqa: E731
    return Cell(number=number, num_classes=2, centre=centre, top=centre + width + draw.uniform(0, 0.3), skill=skill)


def needle(number: int) -> Cell:
    """Return a cell that few learning rates solve; all others are at chance."""
    draw = random.Random(number)
    centre, width = draw.uniform(-4.7, -2.3), draw.uniform(0.075, 0.15)
    skill = lambda distance: float(distance < width)  # noqa: E731
    return Cell(number=number, num_classes=2, centre=centre, top=centre + draw.uniform(0.2, 0.6), skill=skill)


LANDSCAPES: dict[str, Callable[[int], Cell]] = {
    "bump": bump,
    "bump, noise 0.05": lambda number: bump(number, noise=0.05),
    "bump, 2 classes": lambda number: bump(number, num_classes=2),
    "bump, 2 classes, noise 0.05": lambda number: bump(number, num_classes=2, noise=0.05),
    "plateau": plateau,
    "needle": needle,
}


def bilin(cell: Cell, *, sampler: str = "gaussian_process") -> list[Outcome]:
    """Return the outcomes of bilin's search."""
    grid = GRID.replace("{m}", str(cell.num_classes)).replace("{sampler}", sampler)
    wanted = replace(parse_grid(grid).cells[0], cell_id=str(cell.number))
    known: dict[tuple[float, int], Outcome] = {}
    while True:
        asks = decide(wanted, known, list(dict.fromkeys(lr for lr, _ in known)))
        missing = [ask for ask in asks if ask[:2] not in known]
        if not missing:
            return list(known.values())
        known.update({(ask.lr, ask.seed): cell.train(ask.lr) for ask in missing})


def even(cell: Cell) -> list[Outcome]:
    """Return the outcomes of evenly spaced learning rates."""
    return [cell.train(LOW * 10 ** (DECADES * (number + 0.5) / NUM_LRS)) for number in range(NUM_LRS)]


def randomly(cell: Cell) -> list[Outcome]:
    """Return the outcomes of random learning rates."""
    draw = random.Random(f"random {cell.number}")
    return [cell.train(LOW * 10 ** (DECADES * draw.random())) for _ in range(NUM_LRS)]


def former(cell: Cell) -> list[Outcome]:
    """Return the outcomes of bilin 0.1's search: Optuna's TPE, without the other learning rates of its round."""
    outcomes: list[Outcome] = []
    while len(outcomes) < NUM_LRS:
        asked = []
        for number in range(len(outcomes), len(outcomes) + ROUND):
            sampler = optuna.samplers.TPESampler(seed=cell.number * 100 + number, n_startup_trials=ROUND)
            study = optuna.create_study(sampler=sampler, direction="maximize")
            for outcome in outcomes:
                params = {"lr": outcome.lr}
                study.add_trial(
                    optuna.trial.create_trial(params=params, distributions=dict(SPACE), value=outcome.score)
                )
            asked.append(study.ask(dict(SPACE)).params["lr"])
        outcomes += map(cell.train, asked)
    return outcomes


SEARCHES: dict[str, Callable[[Cell], Sequence[Outcome]]] = {
    "gaussian_process": bilin,
    "optuna_gp": partial(bilin, sampler="optuna_gp"),
    "optuna_tpe": partial(bilin, sampler="optuna_tpe"),
    "even": even,
    "random": randomly,
    "former": former,
}


def main(num_cells: int, names: Sequence[str]) -> None:
    warnings.filterwarnings("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("| search | " + " | ".join(LANDSCAPES) + " | ms per search |")
    print("| --- " * (len(LANDSCAPES) + 2) + "|")
    for name in names or SEARCHES:
        entries, began = [], time.perf_counter()
        for landscape in LANDSCAPES.values():
            cells = [landscape(number) for number in range(num_cells)]
            scores = [cell.score(select_point(SEARCHES[name](cell)) or HIGH) for cell in cells]
            share = sum(score >= GOOD for score in scores) / num_cells
            entries.append(f"{statistics.mean(scores):.3f}, {share:.0%}")
        ms = (time.perf_counter() - began) / num_cells / len(LANDSCAPES) * 1e3
        print(f"| {name} | " + " | ".join(entries) + f" | {ms:.0f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, sys.argv[2:])
