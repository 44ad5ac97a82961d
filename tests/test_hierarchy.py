"""docs/hierarchy.md is what its results say; its claims are about cells of its grid, which has every tier."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from benchmarks.hierarchy import CLAIMS, NUM_SEEDS, PAGE, ROOT, STORE, SWEEP, Claim, number, page, shares
from bilin.models import MODELS
from bilin.orchestrator.grid import read_grid
from bilin.results import query

WANTED = read_grid(ROOT / "examples" / "hierarchy.yaml").cells


def row(cell: Any) -> dict[str, object]:
    """The cell as the view of the cells names its fields."""
    names = {"task": cell.task.name, "tier": cell.model.tier, "train_lengths": [*cell.train.lengths]}
    return {**asdict(cell.task), **asdict(cell.model), **names}


def test_the_page_is_what_the_results_say() -> None:
    assert PAGE.read_text() == page(STORE), "python -m benchmarks.hierarchy > docs/hierarchy.md"


def test_the_results_are_those_of_the_grid() -> None:
    found = {row["cell_id"] for row in query("SELECT cell_id FROM cells", store=STORE, sweep=SWEEP).to_pylist()}
    assert found == {wanted.cell.cell_id for wanted in WANTED}


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_a_claim_is_about_one_cell(claim: Claim) -> None:
    assert sum(claim.is_about(row(wanted.cell)) for wanted in WANTED) == 1


def test_every_tier_has_a_cell_and_every_cell_five_seeds() -> None:
    assert {wanted.cell.model.tier for wanted in WANTED} == set(MODELS)
    assert {len(wanted.seeds) for wanted in WANTED} == {NUM_SEEDS}


def test_a_share_has_its_interval_and_the_accuracy_of_each_seed() -> None:
    assert shares([], 0) == "not run | | "
    assert shares([0.5, 1.0, -0.001], 1) == "1 of 3 | 0.06 to 0.79 | 1.00, 0.50, 0.00"


def test_only_a_perfect_accuracy_is_shown_as_one() -> None:
    assert [number(accuracy) for accuracy in (1.0, 0.999, -0.001, -1.0)] == ["1.00", "0.99", "0.00", "-1.00"]
