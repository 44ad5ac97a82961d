"""The page of the hierarchy: its claims are about cells of its grid, and it shows every system on every task."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.hierarchy import CLAIMS, LENGTHS, Claim
from bilin.models import MODELS
from bilin.orchestrator.grid import read_grid

ROOT = Path(__file__).parent.parent
CELLS = [wanted.cell for wanted in read_grid(ROOT / "examples" / "hierarchy.yaml").cells]


def row(cell: Any) -> dict[str, object]:
    """The cell as the view of the cells names its fields."""
    return {"task": cell.task.name, **asdict(cell.task), "tier": cell.model.tier, **asdict(cell.model)} | {
        "train_lengths": list(cell.train.lengths)
    }


@pytest.mark.parametrize("claim", CLAIMS, ids=str)
def test_a_claim_is_about_one_cell(claim: Claim) -> None:
    assert sum({**claim.task, **claim.model}.items() <= row(cell).items() for cell in CELLS) == 1


def test_every_tier_meets_every_task() -> None:
    assert len({(cell.task, cell.model.tier) for cell in CELLS}) == 4 * len(MODELS)


def test_the_page_shows_every_tier_at_every_length() -> None:
    page = (ROOT / "docs" / "hierarchy.md").read_text()
    for length in LENGTHS:
        table = page.partition(f"## Length {length}\n")[2].partition("## ")[0]
        rows = [line for line in table.splitlines() if line.startswith("| `")]
        assert {line.split("`")[1].split(" ")[0] for line in rows} == set(MODELS)
        assert not any("–" in line for line in rows if "train_lengths" not in line)  # noqa: RUF001
