"""The page docs/hierarchy.md, from the results of examples/hierarchy.yaml.

    bilin sweep launch examples/hierarchy.yaml
    python benchmarks/hierarchy.py [--store bilin-store] > docs/hierarchy.md

Prints who solves what at 1, 10 and 50 times the longest training length, and beside each known truth whether it
came out. Cells that an earlier version of a tier measured under another id stand in for those that are not measured
again, and the page names their tiers. Where both are stored, delete the earlier ones:

    bilin results delete --sweep hierarchy --where "…"
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bilin.orchestrator.grid import read_grid
from bilin.results import query
from bilin.results import table as results_table

SWEEP = "hierarchy"
GRID = Path(__file__).parent.parent / "examples" / "hierarchy.yaml"
LENGTHS = (10, 100, 500)
SOLVED, CHANCE = 0.995, 0.1
"""Scaled accuracies: from here on a task counts as solved, up to there as chance."""

Fields = Mapping[str, object]


@dataclass(frozen=True)
class Claim:
    """One cell, at the longest length: what is said of it, by whom, and what else was tried to show it."""

    truth: str
    task: Fields
    model: Fields
    solved: bool
    tried: str = ""

    def __str__(self) -> str:
        fields = {
            key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in self.model.items()
        }
        names = [value if key == "tier" else f"{key}={value}" for key, value in fields.items()]
        return f"{' '.join(names)} {'solves' if self.solved else 'does not solve'} {self.task['task']}"


PARITY, ADDITION = {"task": "parity"}, {"task": "modular_addition"}
MACHINE, S3 = {"task": "random_state_machine"}, {"task": "group_word"}
TRIED_ON_S3 = (
    "Trained on 2 to 10 tokens, with 4, 8 or 16 heads and rates of 1e-2 and 3e-2, it is right at 10 tokens, in 0.38 "
    "to 0.87 of the words at 100, and at chance at 500. Trained on 2 to 50 tokens with 4 heads: 0.95 at 500 after "
    "5,000 steps at 3e-3 and after 4,000 at 1e-2, 0.70 after 10,000 at 3e-3, and 1.00 at 100 each time. Trained on "
    "2 to 128 tokens with 8 heads at 1e-2, it has not learned the group after 3,000 steps: 0.39 at 10 tokens."
)
"""Accuracies, not scaled, one seed each: the last document of the grid with those heads, rates, steps and lengths."""

GRAZZI, SIEMS, EBRAHIMI = "arXiv 2411.12537", "arXiv 2502.10297", "arXiv 2505.21749"

CLAIMS = (
    Claim(GRAZZI, PARITY, {"tier": "mamba", "eigenvalues": "signed"}, solved=True),
    Claim(GRAZZI, PARITY, {"tier": "mamba", "eigenvalues": "positive"}, solved=False),
    Claim(GRAZZI, PARITY, {"tier": "deltanet", "eigenvalues": "signed"}, solved=True),
    Claim(GRAZZI, PARITY, {"tier": "deltanet", "eigenvalues": "positive"}, solved=False),
    Claim(SIEMS, S3, {"tier": "deltaproduct", "householders": 2, "train_lengths": [2, 50]}, True, TRIED_ON_S3),
    Claim(SIEMS, S3, {"tier": "deltaproduct", "householders": 1, "train_lengths": [2, 50]}, solved=False),
    Claim(EBRAHIMI, ADDITION, {"tier": "rotation"}, solved=True),
    Claim(EBRAHIMI, S3, {"tier": "rotation"}, solved=False),
    Claim(EBRAHIMI, MACHINE, {"tier": "full", "additive": False}, solved=True),
    Claim(EBRAHIMI, MACHINE, {"tier": "block_diagonal", "block_size": 8}, solved=True),
    Claim(EBRAHIMI, PARITY, {"tier": "full", "additive": False}, solved=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("bilin-store"))
    store = parser.parse_args().store
    sql = f"SELECT * FROM cells WHERE length = {LENGTHS[-1]}"
    cells = query(sql, store=store, sweep=SWEEP, everything=True).to_pylist()
    verdicts = [verdict(claim, cells) for claim in CLAIMS] + [additive_is_worse(cells)]
    print("\n".join(page(store, verdicts, outdated(cells))))


def outdated(cells: Sequence[Fields]) -> list[str]:
    """The tiers of cells that the grid no longer asks for."""
    wanted = {cell.cell_id for cell in read_grid(GRID).cells}
    old = [cell for cell in cells if cell["cell_id"] not in wanted]
    return sorted({f"`{cell['tier']}{' input_independent=true' if cell['input_independent'] else ''}`" for cell in old})


def page(store: Path, verdicts: Sequence[tuple[str, float, bool]], old: Sequence[str]) -> Iterator[str]:
    """The lines of the page."""
    sql = "SELECT sum(wall_s) AS s, count(*) AS n FROM trials"
    seconds = query(sql, store=store, sweep=SWEEP, everything=True).to_pylist()[0]
    yield from (
        "# What each tier learns",
        "",
        "Written by `python benchmarks/hierarchy.py` from the results of `examples/hierarchy.yaml`; `make hierarchy`",
        "does both. Small networks, trained on sequences of 2 to 10 tokens unless stated otherwise. Accuracy,",
        "scaled so that chance is 0 and 1 is perfect, at the best learning rate and seed: the question is what a",
        f"system can learn. {seconds['n']} trials with one thread each, {seconds['s'] / 60:.0f} minutes together.",
        "",
    )
    if old:
        yield from (f"Measured before faults of the tier were mended, and not yet again: {', '.join(old)}.", "")
    yield from (
        "## Published claims",
        "",
        f"Solved means {SOLVED} or more at length {LENGTHS[-1]}; everything below is not solved.",
        "",
        "| claim | published in | accuracy | reproduced |",
        "|---|---|--:|---|",
        *(f"| {text} | {accuracy:.2f} | {'yes' if came_out else '**no**'} |" for text, accuracy, came_out in verdicts),
    )
    for claim, (_, _, came_out) in zip(CLAIMS, verdicts, strict=False):
        if claim.tried and not came_out:
            yield from ("", f"Not reproduced at length {LENGTHS[-1]}: that {claim}. What was tried: {claim.tried}")
    for length in LENGTHS:
        yield from ("", f"## Length {length}", "", *table(store, length))


def table(store: Path, length: int) -> Iterator[str]:
    """Models against tasks; what is solved stands out."""
    numbers = results_table(store, sweep=SWEEP, length=length, value="best", everything=True).data
    tasks = [name.removesuffix(f", length {length}") for name in numbers.column_names]
    yield f"| {' | '.join(tasks)} |"
    yield f"|---{'|--:' * (numbers.num_columns - 1)}|"
    for label, *accuracies in zip(*(column.to_pylist() for column in numbers.columns), strict=True):
        yield f"| {' | '.join([f'`{label}`', *map(text, accuracies)])} |"


def text(accuracy: float | None) -> str:
    if accuracy is None:
        return "–"  # noqa: RUF001
    return "**1.00**" if accuracy >= SOLVED else f"{min(accuracy, 0.99):.2f}"


def verdict(claim: Claim, cells: Sequence[Fields]) -> tuple[str, float, bool]:
    accuracy = accuracy_of(claim.task, claim.model, cells)
    came_out = accuracy >= SOLVED if claim.solved else accuracy < SOLVED
    return f"{claim} | {claim.truth}", accuracy, came_out


def additive_is_worse(cells: Sequence[Fields]) -> tuple[str, float, bool]:
    pure, additive = (accuracy_of(PARITY, {"tier": "full", "additive": added}, cells) for added in (False, True))
    return f"full with additive terms is worse on parity | {EBRAHIMI}", additive, additive < pure


def accuracy_of(task: Fields, model: Fields, cells: Sequence[Fields]) -> float:
    """The one cell of a task and a model; 0 where it has no result."""
    (cell,) = [cell for cell in cells if (task | model).items() <= cell.items() and not cell["input_independent"]]  # type: ignore[operator]
    accuracy = cell["best"]
    return accuracy if isinstance(accuracy, float) else 0.0


if __name__ == "__main__":
    main()
