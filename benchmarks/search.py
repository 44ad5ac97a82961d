"""The search for a learning rate against others, on simulated cells.

    .venv/bin/python benchmarks/search.py [CELLS] [SEARCH …]

Each cell has a landscape: the accuracy and the loss at each learning rate, and a rate above which training diverges.
Every search tries 12 rates between 1e-5 and 1e-2, in rounds of 4. The rate with the best result is selected. Its score
is the true accuracy there, scaled so that chance is 0 and the best rate of the landscape is 1. The table shows the mean
score, and the share of cells whose score is at least 0.95. `optuna` must be installed.
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

import optuna

from bilin.orchestrator.grid import parse_grid
from bilin.orchestrator.planning.search import decide
from bilin.rules import Outcome, select_lr

LOW, HIGH = 1e-5, 1e-2
NUM_LRS, ROUND = 12, 4
DECADES = math.log10(HIGH / LOW)
SPACE = {"lr": optuna.distributions.FloatDistribution(LOW, HIGH, log=True)}
GRID = f"""
name: search
tasks: [{{name: modular_addition, m: {{m}}}}]
models: [{{tier: full}}]
learning_rate: {{log_uniform: [{LOW}, {HIGH}], trials: {NUM_LRS}, round: {ROUND}}}
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


def bilin(cell: Cell) -> list[Outcome]:
    """Return the outcomes of bilin's search."""
    wanted = replace(parse_grid(GRID.replace("{m}", str(cell.num_classes))).cells[0], cell_id=str(cell.number))
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


def with_optuna(cell: Cell, *, sampler: str, pending: bool, stratified: bool) -> list[Outcome]:
    """Return the outcomes of a sampler of Optuna that is made anew for every ask.

    Args:
        cell: The simulated cell.
        sampler: ``tpe`` or ``gp``.
        pending: Whether it sees the other learning rates of its round.
        stratified: Whether the first round has one learning rate in each quarter of the scale.
    """
    outcomes: list[Outcome] = []
    while len(outcomes) < NUM_LRS:
        asked: list[float] = []
        for number in range(len(outcomes), len(outcomes) + ROUND):
            if stratified and not outcomes:
                asked.append(
                    LOW * 10 ** (DECADES * (number + random.Random(f"{cell.number} {number}").random()) / ROUND)
                )
                continue
            study = optuna.create_study(sampler=_sampler(sampler, cell.number * 100 + number), direction="maximize")
            for outcome in outcomes:
                study.add_trial(_trial({"lr": outcome.lr}, value=outcome.score))
            for lr in asked if pending else ():
                study.add_trial(_trial({"lr": lr}, state=optuna.trial.TrialState.RUNNING))
            asked.append(study.ask(dict(SPACE)).params["lr"])
        outcomes += map(cell.train, asked)
    return outcomes


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    if name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=ROUND, deterministic_objective=False)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=ROUND, constant_liar=True)


def _trial(params: dict[str, float], **more: object) -> optuna.trial.FrozenTrial:
    return optuna.trial.create_trial(params=params, distributions=dict(SPACE), **more)  # type: ignore[arg-type]


SEARCHES: dict[str, Callable[[Cell], Sequence[Outcome]]] = {
    "bilin": bilin,
    "even": even,
    "random": randomly,
    "tpe": lambda cell: with_optuna(cell, sampler="tpe", pending=False, stratified=False),
    "tpe-pending": lambda cell: with_optuna(cell, sampler="tpe", pending=True, stratified=False),
    "gp-pending": lambda cell: with_optuna(cell, sampler="gp", pending=True, stratified=True),
}
"""``tpe`` is bilin's search up to version 0.2."""


def main(num_cells: int, names: Sequence[str]) -> None:
    warnings.filterwarnings("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("| search | " + " | ".join(LANDSCAPES) + " | ms per search |")
    print("| --- " * (len(LANDSCAPES) + 2) + "|")
    for name in names or SEARCHES:
        entries, began = [], time.perf_counter()
        for landscape in LANDSCAPES.values():
            cells = [landscape(number) for number in range(num_cells)]
            scores = [cell.score(select_lr(SEARCHES[name](cell)) or HIGH) for cell in cells]
            share = sum(score >= GOOD for score in scores) / num_cells
            entries.append(f"{statistics.mean(scores):.3f}, {share:.0%}")
        ms = (time.perf_counter() - began) / num_cells / len(LANDSCAPES) * 1e3
        print(f"| {name} | " + " | ".join(entries) + f" | {ms:.0f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100, sys.argv[2:])
