"""Cells and tables say so if their trials ran with several versions, or on different hardware."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bilin.record import Environment
from bilin.results import SweepWriter, encode, query, table
from bilin.results.result_table import Format
from tests.results.samples import ENVIRONMENT, cell, failed, pair


def stored(store: Path, *environments: Environment) -> Path:
    """A store with a cell that has a seed in each environment, and one of a single environment."""
    with SweepWriter(store, "sweep") as writer:
        writer.append([pair(seed=seed, environment=each) for seed, each in enumerate(environments)])
        writer.append([pair(cell(m=3), seed=seed, environment=environments[0]) for seed in range(2)])
    return store


def units(version: str) -> Environment:
    return replace(ENVIRONMENT, tier_package=f"units {version}")


def test_a_cell_says_which_versions_it_mixes(tmp_path: Path) -> None:
    store = stored(tmp_path, units("0.1.0"), units("0.1.0"), replace(units("0.2.0"), torch="2.14.0"))
    rows = query("select m, mixed, mixed_hardware from cells where length = 500 order by m", store=store).to_pylist()
    mixed = "tier_package: units 0.1.0 (2 trials), units 0.2.0 (1 trial); torch: 2.13.0 (2 trials), 2.14.0 (1 trial)"
    assert rows == [
        {"m": 3, "mixed": None, "mixed_hardware": None},
        {"m": 5, "mixed": mixed, "mixed_hardware": None},
    ]
    assert "mixed" in query(store=store).column_names


@pytest.mark.parametrize("by", ["task", "length"])
@pytest.mark.parametrize("value", ["mean", "best"])
def test_a_table_marks_mixed_cells(tmp_path: Path, by: str, value: str) -> None:
    shown = table(stored(tmp_path, units("0.1.0"), units("0.2.0")), by=by, value=value)
    text = encode(shown, Format.TABLE).decode()
    marked = [line for line in text.splitlines() if "*" in line]
    assert marked[-1].startswith("* trials of several versions in 1 cell: tier_package: units 0.1.0 (1 trial), units")
    assert len(marked) == 2
    grid = tmp_path / "sweep/grid.json"
    assert f"\n  bilin sweep launch {grid} --rerun-stale --store {tmp_path}\n" in text
    assert marked[0].count("*") == (1 if by == "task" else 2)


def test_machines_have_a_column_of_it(tmp_path: Path) -> None:
    data = table(stored(tmp_path, units("0.1.0"), units("0.2.0"))).data.to_pylist()
    mixed = {name: row[name] for row in data for name in row if name.endswith(", mixed")}
    assert {name.partition(",")[0]: bool(text) for name, text in mixed.items()} == {
        "modular_addition m=3": False,
        "modular_addition m=5": True,
    }


def test_hardware_has_a_line_and_no_mark(tmp_path: Path) -> None:
    gpu = replace(ENVIRONMENT, device="cuda", gpu="a gpu")
    store = stored(tmp_path, replace(ENVIRONMENT, cpu="another cpu"), ENVIRONMENT, gpu)
    text = encode(table(store), Format.TABLE).decode()
    assert "*" not in text
    assert text.endswith("trials of several CPUs or GPUs in 1 cell: see mixed_hardware in `cells`\n")
    (row,) = query("select distinct mixed_hardware as hardware from cells where m = 5", store=store).to_pylist()
    assert row["hardware"] == "cpu: a cpu (2 trials), another cpu (1 trial); gpu: a gpu (1 trial), none (2 trials)"
    assert "mixed_hardware" not in query(store=store).column_names


def test_builds_of_one_version_and_trials_without_a_result_mix_nothing(tmp_path: Path) -> None:
    with SweepWriter(tmp_path, "sweep") as writer:
        built = replace(ENVIRONMENT, torch=f"{ENVIRONMENT.torch}+cpu")
        writer.append([pair(), pair(seed=1, environment=built), pair(seed=2, environment=None)])
        writer.append([failed(seed=3, environment=units("0.1.0"))])
    assert {row["mixed"] for row in query("select mixed from cells", store=tmp_path).to_pylist()} == {None}
