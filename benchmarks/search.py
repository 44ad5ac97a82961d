"""The search for a learning rate against others, on simulated cells.

    python -m benchmarks.search [--cells 100] [--search even gaussian_process] [--points]

Each cell has a landscape: the accuracy and the loss at each learning rate, and a rate above which training diverges.
Every search tries 12 rates between 1e-5 and 1e-2, in rounds of 4. The rate with the best result is selected. Its score
is the true accuracy there, scaled so that chance is 0 and the best rate of the landscape is 1. The table shows the mean
score, and the share of cells whose score is at least 0.95.

With ``--points``, the weight decay is searched too, between 1e-6 and 1e-2, with 16 and with 24 trials.
"""

from __future__ import annotations

import argparse
import functools
import math
import random
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import optuna

from bilin.orchestrator.grid import parse_grid
from bilin.orchestrator.planning.search import decide
from bilin.rules import Outcome, select_point
from bilin.spec import Point

LOW, HIGH = 1e-5, 1e-2
DECAY_LOW, DECAY_HIGH = 1e-6, 1e-2
NUM_LRS, ROUND = 12, 4
DECADES = math.log10(HIGH / LOW)
SPACE = {"lr": optuna.distributions.FloatDistribution(LOW, HIGH, log=True)}
GRID = f"""
name: search
tasks: [{{name: modular_addition, m: {{m}}}}]
models: [{{tier: full}}]
train: {{weight_decay: {{decay}}}}
learning_rate: {{log_uniform: [{LOW}, {HIGH}], trials: {{num_trials}}, round: {ROUND}, sampler: {{sampler}}}}
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
        decay: The distance from the best point, by that from the centre and the decimal logarithm of the weight decay;
            None if the learning rate alone is searched.
    """

    number: int
    num_classes: int
    centre: float
    top: float
    skill: Callable[[float], float]
    noise: float = 0.0

    decay: Callable[[float, float], float] | None = None

    def score(self, point: Point) -> float:
        """Return the true scaled accuracy at a point."""
        position = math.log10(point.lr)
        return 0.0 if position > self.top else self.skill(self.distance(point))

    def distance(self, point: Point) -> float:
        """Return how far a point is from the best, in decades."""
        position = math.log10(point.lr) - self.centre
        return abs(position) if self.decay is None else self.decay(position, math.log10(point.searched[0][1]))

    def train(self, point: Point) -> Outcome:
        """Return the outcome of a trial at a point."""
        position, chance = math.log10(point.lr), 1 / self.num_classes
        noise = random.Random(f"{self.number} {point.lr}").gauss(0, self.noise) if self.noise else 0.0
        accuracy = min(max(chance + (1 - chance) * self.score(point) + noise, 0.0), 1.0)
        loss = 0.02 + 1.5 * (1 - math.exp(-((self.distance(point) / 0.6) ** 2) / 2))
        return Outcome(point, 0, position <= self.top, accuracy == 1.0, accuracy, loss)


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


def ridge(number: int) -> Cell:
    """Return a cell with a ridge: more weight decay needs a smaller learning rate; one place on it is the best."""
    draw = random.Random(number)
    best, slope, width = draw.uniform(-5.5, -2.5), draw.uniform(0.2, 0.4), draw.choice([0.25, 0.4])
    decay = lambda rate, decay: math.hypot(rate + slope * (decay - best), (decay - best) / 4)  # noqa: E731
    skill = lambda distance: math.exp(-((distance / width) ** 2) / 2)  # noqa: E731
    centre = draw.uniform(-4.0, -3.0)
    return Cell(number=number, num_classes=1000, centre=centre, top=centre + 1.0, skill=skill, decay=decay)


def peak(number: int) -> Cell:
    """Return a cell in which learning rate and weight decay both matter, each for itself."""
    best = random.Random(number).uniform(-5.5, -2.5)
    return replace(bump(number), decay=lambda rate, decay: math.hypot(rate, (decay - best) / 3))


def irrelevant(number: int) -> Cell:
    """Return a cell in which the weight decay does not matter."""
    return replace(bump(number), decay=lambda rate, _: abs(rate))


OF_POINTS: dict[str, Callable[[int], Cell]] = {"ridge": ridge, "peak": peak, "irrelevant": irrelevant}


def bilin(cell: Cell, num_trials: int, *, sampler: str = "gaussian_process") -> list[Outcome]:
    """Return the outcomes of bilin's search."""
    decay = f"{{log_uniform: [{DECAY_LOW}, {DECAY_HIGH}]}}" if cell.decay else "0"
    texts = {"m": cell.num_classes, "sampler": sampler, "num_trials": num_trials, "decay": decay}
    grid = functools.reduce(lambda text, item: text.replace(f"{{{item[0]}}}", str(item[1])), texts.items(), GRID)
    wanted = replace(parse_grid(grid).cells[0], cell_id=str(cell.number))
    known: dict[tuple[Point, int], Outcome] = {}
    while True:
        asks = decide(wanted, known, list(dict.fromkeys(point for point, _ in known)))
        missing = [ask for ask in asks if ask[:2] not in known]
        if not missing:
            return list(known.values())
        known.update({ask[:2]: cell.train(ask.point) for ask in missing})


def _points(cell: Cell, shares: Sequence[Sequence[float]]) -> list[Outcome]:
    points = []
    for rate, decay in shares:
        value = DECAY_LOW * (DECAY_HIGH / DECAY_LOW) ** decay
        points.append(Point(LOW * 10 ** (DECADES * rate), (("weight_decay", value),) if cell.decay else ()))
    return [cell.train(point) for point in points]


def even(cell: Cell, num_trials: int) -> list[Outcome]:
    """Return the outcomes of evenly spaced learning rates; with weight decay, of a Latin hypercube."""
    draw = random.Random(f"even {cell.number}")
    rates, decays = ([(number + 0.5) / num_trials for number in range(num_trials)] for _ in range(2))
    draw.shuffle(decays)
    return _points(cell, list(zip(rates, decays, strict=True)))


def randomly(cell: Cell, num_trials: int) -> list[Outcome]:
    """Return the outcomes of random points."""
    draw = random.Random(f"random {cell.number}")
    rates = [draw.random() for _ in range(num_trials)]
    return _points(cell, [(rate, draw.random()) for rate in rates])


def former(cell: Cell, num_trials: int) -> list[Outcome]:
    """Return the outcomes of bilin 0.1's search: Optuna's TPE, without the other learning rates of its round."""
    outcomes: list[Outcome] = []
    while len(outcomes) < num_trials:
        asked = []
        for number in range(len(outcomes), len(outcomes) + ROUND):
            sampler = optuna.samplers.TPESampler(seed=cell.number * 100 + number, n_startup_trials=ROUND)
            study = optuna.create_study(sampler=sampler, direction="maximize")
            for outcome in outcomes:
                params = {"lr": outcome.point.lr}
                study.add_trial(
                    optuna.trial.create_trial(params=params, distributions=dict(SPACE), value=outcome.score)
                )
            asked.append(Point(study.ask(dict(SPACE)).params["lr"]))
        outcomes += map(cell.train, asked)
    return outcomes


SEARCHES: dict[str, Callable[[Cell, int], Sequence[Outcome]]] = {
    "gaussian_process": bilin,
    "optuna_gp": functools.partial(bilin, sampler="optuna_gp"),
    "optuna_tpe": functools.partial(bilin, sampler="optuna_tpe"),
    "even": even,
    "random": randomly,
    "former": former,
}


def main(num_cells: int, names: Sequence[str], landscapes: dict[str, Callable[[int], Cell]], num_trials: int) -> None:
    warnings.filterwarnings("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"| {num_trials} trials | " + " | ".join(landscapes) + " | ms per search |")
    print("| --- " * (len(landscapes) + 2) + "|")
    for name in names:
        entries, began = [], time.perf_counter()
        for landscape in landscapes.values():
            cells = [landscape(number) for number in range(num_cells)]
            selected = [select_point(SEARCHES[name](cell, num_trials)) for cell in cells]
            scores = [cell.score(point) if point else 0.0 for cell, point in zip(cells, selected, strict=True)]
            share = sum(score >= GOOD for score in scores) / num_cells
            entries.append(f"{statistics.mean(scores):.3f}, {share:.0%}")
        ms = (time.perf_counter() - began) / num_cells / len(landscapes) * 1e3
        print(f"| {name} | " + " | ".join(entries) + f" | {ms:.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--search", nargs="+", choices=SEARCHES, default=list(SEARCHES))
    parser.add_argument("--points", action="store_true", help="search the weight decay, too")
    options = parser.parse_args()
    for trials in (16, 24) if options.points else (NUM_LRS,):
        main(options.cells, options.search, OF_POINTS if options.points else LANDSCAPES, trials)
