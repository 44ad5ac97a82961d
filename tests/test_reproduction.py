"""docs/reproduction.md has the tables of the results in reproduction/, and the stages of the campaign are whole."""

from __future__ import annotations

import json
import math
import time

import pytest

from benchmarks import reproduce, reproduction
from bilin.orchestrator.grid import Grid, read_grid
from bilin.results import published, query


def grids(stages: tuple[str, ...]) -> list[Grid]:
    return [read_grid(reproduce.ROOT / "examples" / f"{stage}.yaml") for stage in stages]


def test_the_pages_have_the_tables_of_the_results() -> None:
    for path, part in ((reproduction.PAGE, reproduction.markdown()), (reproduction.README, reproduction.short_table())):
        page = path.read_text()
        assert page == reproduction.replaced(page, part), "python -m benchmarks.reproduction --write"


def test_the_stages_ask_for_every_published_cell() -> None:
    wanted = {key(cell.cell.task, cell.cell.model) for grid in grids(reproduce.STAGES) for cell in grid.cells}
    rows = [row for row in published().to_pylist() if row["source"] == reproduction.REFERENCE]
    missing = [
        row for row in rows if (row["task"], row["m"], row["tier"], row["block_size"], row["layers"]) not in wanted
    ]
    assert rows
    assert missing == []


def key(task: object, model: object) -> tuple[object, ...]:
    layers = None if getattr(model, "tier", None) == "lstm" else getattr(model, "layers", None)  # not published
    fields = getattr(task, "name", None), getattr(task, "m", None), getattr(model, "tier", None)
    return *fields, getattr(model, "block_size", None), layers


def test_a_campaign_launches_what_is_missing_and_stops_at_its_deadline(tmp_path, capsys) -> None:
    grid = ("--only", "tier=real_diagonal,m=2", "--set", "train.steps=500", "--set", "validate.every=500")
    late = reproduce.Campaign(tmp_path, ["--cluster", "inline"], deadline=-math.inf)
    late.run(["quickstart"], passes=[grid])
    assert "the budget ended in quickstart" in capsys.readouterr().out
    assert not (tmp_path / reproduce.LAUNCHES).exists()
    campaign = reproduce.Campaign(tmp_path, ["--cluster", "inline"], deadline=time.monotonic() + 3600)
    campaign.run(["quickstart"], passes=[grid, grid])  # the second time, nothing is missing
    assert "every stage is complete" in capsys.readouterr().out
    (launch,) = [json.loads(line) for line in (tmp_path / reproduce.LAUNCHES).read_text().splitlines()]
    assert (launch["stage"], launch["exit_code"]) == ("quickstart", reproduce.COMPLETE)
    assert query("SELECT tier, steps FROM trials", store=tmp_path).to_pylist() == [
        {"tier": "real_diagonal", "steps": 500}
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget-min", "nan"], "found --budget-min nan; accepted: a number of minutes above 0"),
        (["--store", __file__], "cannot be a store (File exists); name another folder with --store"),
    ],
)
def test_a_campaign_that_cannot_begin_says_why(options, message, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["reproduce", *options])
    with pytest.raises(SystemExit, match="2"):
        reproduce.main()
    assert message in capsys.readouterr().err


def test_the_published_protocol_has_no_early_end_and_three_constant_rates() -> None:
    for wanted in (cell for grid in grids(reproduce.PUBLISHED) for cell in grid.cells):
        train = wanted.cell.train
        assert (train.steps, train.schedule, train.normalize, train.stop_when_solved) == (
            100_000,
            "constant",
            "none",
            False,
        )
        assert (wanted.max_points, wanted.cell.validate.lengths) == (3, ())


def test_the_cost_is_the_measured_seconds_of_a_step_for_each_trial() -> None:
    (grid,) = grids(("paper_random_state_machine",))
    measured = [{"task": "modular_addition", "tier": "full", "layers": None, "m": 5, "step_s": 0.36}]
    num_trials, hours, num_unknown = reproduce.cost(grid, measured)
    assert num_trials == num_unknown + 4 * 3  # full at four m, three rates
    assert round(hours, 6) == 4 * 3 * 100_000 * 0.36 / 3600
