"""The ids of the examples are pinned: results are found by them, so they outlive every change of the code.

When this fails, the change under test would lose stored results, and is to be undone, or done so that the ids
stay: a new field says with ``before`` what was done before it existed. pinned_ids.json grows by examples
and by cells that are new. It is written again only together with a raised RESULTS_VERSION, or a raised
``version`` of a tier or task (then only its ids may differ), by
``python -m tests.orchestrator.grid.test_examples``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bilin.orchestrator.grid import Choices, read_grid
from bilin.spec import RESULTS_VERSION, Point, trial_id

EXAMPLES = Path(__file__).parents[3] / "examples"
PINNED = Path(__file__).with_name("pinned_ids.json")
IDS = json.loads(PINNED.read_text())


def ids(path: Path) -> dict[str, list[str]]:
    """The cells of an example, and the trials of its first cell."""
    grid = read_grid(path)
    first = grid.cells[0]
    assert isinstance(first.learning_rate, Choices)
    trials = [
        trial_id(first.cell_id, Point(rate), seed) for rate in first.learning_rate.choices for seed in first.seeds
    ]
    return {"cells": [wanted.cell_id for wanted in grid.cells], "trials_of_first_cell": trials}


@pytest.mark.parametrize("name", IDS["examples"])
def test_an_examples_ids_are_those_that_are_pinned(name: str) -> None:
    assert IDS["results_version"] == RESULTS_VERSION
    assert ids(EXAMPLES / f"{name}.yaml") == IDS["examples"][name]


def test_every_example_is_pinned() -> None:
    assert set(IDS["examples"]) == {path.stem for path in EXAMPLES.glob("*.yaml")}


def test_the_published_grids_have_their_full_size() -> None:
    for name, moduli in (("modular_addition", {2, 3, 5, 10, 25, 50}), ("random_state_machine", {2, 5, 10, 25})):
        cells = [wanted.cell for wanted in read_grid(EXAMPLES / f"paper_{name}.yaml").cells]
        assert {getattr(cell.task, "m", None) for cell in cells} == moduli
        assert {getattr(cell.model, "hidden", None) for cell in cells} == {256}
        assert len(cells) == (7 + 2 * 3) * len(moduli)  # Mamba and the transformer have 1, 2 and 4 layers


if __name__ == "__main__":
    examples = {path.stem: ids(path) for path in sorted(EXAMPLES.glob("*.yaml"))}
    PINNED.write_text(json.dumps({"results_version": RESULTS_VERSION, "examples": examples}, indent=1) + "\n")
