"""The page docs/hierarchy.md, from the results of examples/hierarchy.yaml in reproduction/.

    make hierarchy                                 or
    bilin sweep launch examples/hierarchy.yaml --store reproduction
    bilin results compact --store reproduction
    python -m benchmarks.hierarchy > docs/hierarchy.md

Says of each published claim in how many seeds it held, shows which seeds of each tier solve each task, and what a start
token brings. A cell that was not run is shown as such.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from bilin.results import query
from bilin.results.statistics import wilson_sql

ROOT = Path(__file__).parent.parent
SWEEP, STORE, PAGE = "hierarchy", ROOT / "reproduction", ROOT / "docs" / "hierarchy.md"
TRAINED, NUM_SEEDS = (2, 10), 5
SHORT, MIDDLE, LONG = 10, 100, 500
SOLVED = 0.995
"""A seed solves a task from this scaled accuracy on, at the longest length."""

NAMED = ("additive", "input_independent", "block_size", "rank", "eigenvalues", "householders")
"""The fields that tell models of one tier apart."""

TASKS = {
    "parity": "parity",
    "modular_addition": "counting mod 3",
    "random_state_machine": "machine, 5 states",
    "group_word": "S3",
}
NOT_RUN = "–"  # noqa: RUF001

INTRODUCTION = (
    "Written by `python -m benchmarks.hierarchy` from the results of `examples/hierarchy.yaml`, which are in "
    "`reproduction/`; `make hierarchy` does both. Networks of width 32, trained on sequences of 2 to 10 tokens unless "
    f"stated otherwise, {NUM_SEEDS} seeds for each cell. Accuracy is scaled: chance is 0, and 1 is perfect. A seed "
    f"**solves** a task if its accuracy at {LONG} tokens is at least {SOLVED}. Each family has one recipe, the best "
    "known from earlier runs. Each cell tries up to three learning rates in turn, until its validation counts "
    "every seed as solved; all numbers are at the rate that validation selects. *Not solved* means not at these rates, "
    "at this size, in these 500 to 4,000 steps. Where all three rates were tried, the best is shown, chosen with the "
    "same seeds: this makes the shares of seeds that solve a task a little too high."
)
ABOUT_CLAIMS = (
    "In how many seeds each claim held, and the 95 % interval of that share (Wilson). The papers say what a model can "
    "represent, or what larger models learned. Here is what these small ones learned."
)
ALSO_TRIED = (
    "DeltaProduct on S3 may need longer words than these. Earlier runs of width 64, one seed each (accuracies not "
    "scaled): trained on 2 to 50 tokens with 4 heads, 0.95 at 500 tokens after 5,000 steps at 3e-3 and after 4,000 at "
    "1e-2, and 0.70 after 10,000 at 3e-3; trained on 2 to 10 tokens, chance at 500 tokens with 4, 8 or 16 heads."
)
ABOUT_SEEDS = (
    f"In brackets the median accuracy. {NOT_RUN}: not run; layered tiers take longer, and have fewer tasks. Five seeds "
    "leave wide intervals: 5 of 5 is a share of 0.57 to 1, 3 of 5 of 0.23 to 0.88, and 0 of 5 of 0 to 0.43. Small "
    "differences between models mean nothing here. Validation is at four listed lengths alone, which a rotation can "
    "pass by luck ([Findings](findings.md#a-solved-trial-can-be-wrong-at-most-lengths)): on parity, some of its seeds "
    "that count as solved have every answer wrong at 100 and 500 tokens, which is -1.00."
)
ABOUT_START = (
    "Tiers whose state starts at 0 can read a token of their own before each sequence (`start_token: true`). So they "
    "learn what a sequence starts from. Where the two intervals overlap, five seeds do not show whether it helps. At "
    f"{LONG} tokens:"
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """What a paper says of one cell, at the longest length."""

    source: str
    task: Row
    model: Row
    solved: bool

    def __str__(self) -> str:
        return f"{name(self.model)} {'solves' if self.solved else 'does not solve'} {TASKS[self.task['task']]}"

    def is_about(self, cell: Row) -> bool:
        """Whether this is the claim's cell."""
        fields = {
            "start_token": False,
            "input_independent": False,
            "train_lengths": [*TRAINED],
            **self.task,
            **self.model,
        }
        return all(cell.get(name) in (value, None) for name, value in fields.items())

    def holds(self, score: float) -> bool:
        """Whether the claim holds for a seed."""
        return (score >= SOLVED) == self.solved


PARITY, ADDITION = {"task": "parity"}, {"task": "modular_addition"}
MACHINE, S3 = {"task": "random_state_machine"}, {"task": "group_word"}
GRAZZI, SIEMS, EBRAHIMI = "arXiv 2411.12537", "arXiv 2502.10297", "arXiv 2505.21749"

CLAIMS = (
    Claim(GRAZZI, PARITY, {"tier": "mamba", "eigenvalues": "signed"}, solved=True),
    Claim(GRAZZI, PARITY, {"tier": "mamba", "eigenvalues": "positive"}, solved=False),
    Claim(GRAZZI, PARITY, {"tier": "deltanet", "eigenvalues": "signed"}, solved=True),
    Claim(GRAZZI, PARITY, {"tier": "deltanet", "eigenvalues": "positive"}, solved=False),
    Claim(SIEMS, S3, {"tier": "deltaproduct", "householders": 2}, solved=True),
    Claim(SIEMS, S3, {"tier": "deltanet", "eigenvalues": "signed"}, solved=False),
    Claim(EBRAHIMI, ADDITION, {"tier": "rotation"}, solved=True),
    Claim(EBRAHIMI, S3, {"tier": "rotation"}, solved=False),
    Claim(EBRAHIMI, MACHINE, {"tier": "full", "additive": False}, solved=True),
    Claim(EBRAHIMI, MACHINE, {"tier": "block_diagonal", "block_size": 8}, solved=True),
    Claim(EBRAHIMI, PARITY, {"tier": "full", "additive": False}, solved=True),
)

FULL = [Claim(EBRAHIMI, PARITY, {"tier": "full", "additive": added}, solved=True) for added in (False, True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=STORE)
    print(page(parser.parse_args().store), end="")


def page(store: Path) -> str:
    """The whole page."""
    cells = query("SELECT * FROM cells", store=store, sweep=SWEEP).to_pylist()
    (cost,) = query("SELECT sum(wall_s) / 60 AS m, count(*) AS n FROM trials", store=store, sweep=SWEEP).to_pylist()
    num_run = len({cell["cell_id"] for cell in cells if cell["scores"]})
    return "\n".join(
        [
            "# What each tier learns",
            "",
            f"{INTRODUCTION} {num_run} of {len({cell['cell_id'] for cell in cells})} cells have run, with {cost['n']} "
            f"trials of one thread each, {cost['m']:.0f} minutes together; `make hierarchy` runs the others.",
            "",
            "## Published claims",
            "",
            ABOUT_CLAIMS,
            "",
            *claims(cells),
            "",
            ALSO_TRIED,
            "",
            f"## Seeds that solve each task at {LONG} tokens",
            "",
            ABOUT_SEEDS,
            "",
            *table(cells, solved),
            "",
            f"## Median accuracy at {SHORT} and {MIDDLE} tokens",
            "",
            *table(cells, before),
            "",
            "## A start token",
            "",
            ABOUT_START,
            "",
            *start_tokens(cells),
            "",
        ]
    )


def claims(cells: Sequence[Row]) -> Iterator[str]:
    """A row for each claim."""
    yield "| claim | published in | held in | 95 % interval | accuracy of each seed |"
    yield "|---|---|--:|--:|---|"
    for claim in CLAIMS:
        scores = [
            score for cell in cells if cell["length"] == LONG and claim.is_about(cell) for score in cell["scores"]
        ]
        yield f"| {claim} | {claim.source} | {shares(scores, sum(map(claim.holds, scores)))} |"
    pure, additive = (
        next(cell["scores"] for cell in cells if cell["length"] == LONG and FULL[added].is_about(cell))
        for added in (False, True)
    )
    worse = sum(score < other for score, other in zip(additive, pure, strict=False))
    yield f"| `full additive=true` is worse than `full` on parity | {EBRAHIMI} | {shares(additive, worse)} |"


def start_tokens(cells: Sequence[Row]) -> Iterator[str]:
    """Two rows for each model that was trained with a start token: without it, and with it."""
    yield "| task | model | start token | seeds that solve it | 95 % interval | accuracy of each seed |"
    yield "|---|---|---|--:|--:|---|"
    at_end = [cell for cell in cells if cell["length"] == LONG]
    for cell in (cell for cell in at_end if cell["start_token"]):
        (without,) = (other for other in at_end if is_same(cell, other) and other["start_token"] is False)
        for there, scores in (("no", without["scores"]), ("yes", cell["scores"])):
            yield f"| {TASKS[cell['task']]} | {name(cell)} | {there} | {shares(scores, sum(map(is_solved, scores)))} |"


def is_same(cell: Row, other: Row) -> bool:
    """Whether two cells are the same model on the same task, perhaps with a start token."""
    return all(cell[field] == other[field] for field in ("task", "tier", "train_lengths", *NAMED))


def shares(scores: Sequence[float], count: int) -> str:
    """Entries of a row: how many of the seeds, the interval of their share, and the accuracies from the highest."""
    if not scores:
        return "not run | | "
    formulas = ", ".join(wilson_sql(str(count), str(len(scores))))
    low, high = duckdb.execute(f"SELECT {formulas}").fetchall()[0]
    accuracies = ", ".join(map(number, sorted(scores, reverse=True)))
    return f"{count} of {len(scores)} | {low:.2f} to {high:.2f} | {accuracies}"


def table(cells: Sequence[Row], entry: Callable[[Mapping[int, Sequence[float]]], str]) -> Iterator[str]:
    """A table of models against tasks, with an entry for the accuracies of the seeds by length."""
    found: dict[str, dict[str, dict[int, Sequence[float]]]] = defaultdict(lambda: defaultdict(dict))
    for cell in cells:
        if not cell["start_token"]:
            found[f"{name(cell)}{lengths(cell)}"][cell["task"]][cell["length"]] = cell["scores"]
    yield f"| model | {' | '.join(TASKS.values())} |"
    yield f"|---|{'--:|' * len(TASKS)}"
    for model, by_task in found.items():
        entries = [entry(by_task[task]) if any(by_task[task].values()) else NOT_RUN for task in TASKS]
        yield f"| {model} | {' | '.join(entries)} |"


def solved(scores: Mapping[int, Sequence[float]]) -> str:
    """How many seeds solve the task, and their median."""
    at_end = scores[LONG]
    count = sum(map(is_solved, at_end))
    share = f"{count} of {len(at_end)}"
    return f"**{share}**" if count == len(at_end) else f"{share} ({number(statistics.median(at_end))})"


def before(scores: Mapping[int, Sequence[float]]) -> str:
    """The medians at the shorter lengths."""
    return ", ".join(number(statistics.median(scores[length])) for length in (SHORT, MIDDLE))


def is_solved(score: float) -> bool:
    return score >= SOLVED


def number(accuracy: float) -> str:
    """An accuracy; only what is exactly 1 is shown as 1.00, and nothing as -0.00."""
    return "1.00" if accuracy == 1.0 else f"{min(accuracy, 0.99) + 0.0:.2f}".replace("-0.00", "0.00")


def name(model: Row) -> str:
    """A model by the fields that tell models of its tier apart."""
    fields = [(field, model.get(field)) for field in NAMED]
    parts = [f"{field}={str(value).lower()}" for field, value in fields if value not in (None, False)]
    return f"`{' '.join([model['tier'], *parts])}`"


def lengths(cell: Row) -> str:
    """The training lengths, if they are not those of the other cells."""
    shortest, longest = cell["train_lengths"]
    return "" if (shortest, longest) == TRAINED else f" on {shortest} to {longest} tokens"


if __name__ == "__main__":
    main()
