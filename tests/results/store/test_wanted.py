from __future__ import annotations

import dataclasses
import itertools
import json

import pyarrow.parquet as pq

from bilin.results import Bounds, WantedRow, fields_json, last_wanted, query, stored_grid
from bilin.spec import Point
from tests.results.samples import cell, pair, seeds


def want(of=None, *, lrs=(1e-3,), seeds=(0,), test_lengths=(10, 500), **bounds):
    of = of or cell()
    return WantedRow(
        cell_id=of.cell_id, lrs=lrs, seeds=seeds, num_trials=len(seeds), test_lengths=test_lengths, num_sequences=2048,
        **bounds,
    )  # fmt: skip


def test_what_is_wanted_comes_back(store, writer):
    cells = [want(lrs=(1e-3, 1e-4), seeds=(0, 1)), want(cell(m=7), lrs=None, lr_low=1e-5, lr_high=1e-2)]
    writer.write_wanted(cells)
    table = pq.read_table(store / "sweep" / "wanted.parquet", partitioning=None)
    assert table.to_pylist() == [json.loads(json.dumps(dataclasses.asdict(each))) for each in cells]


def test_the_grid_comes_back(store, writer):
    assert stored_grid(store, "sweep") is None
    writer.write_grid('{"name": "größer"}')
    assert stored_grid(store, "sweep") == '{"name": "größer"}'


def test_views_show_what_the_grid_wants_now(store, writer):
    writer.append([*seeds(3), pair(lr=1e-2), pair(cell(m=7))])
    writer.write_wanted([want(seeds=(0, 2))])
    shown = query(store=store, view="trials").to_pylist()
    assert sorted(row["seed"] for row in shown) == [0, 2]
    assert query(store=store, view="curves").num_rows == 4
    assert query(store=store, view="trials", everything=True).num_rows == 5
    (best,) = query(store=store, where="length = 500").to_pylist()
    assert best["num_seeds"] == 2


def test_rates_of_a_search_lie_within_its_bounds(store, writer):
    # bounds are rounded as the rates are: 1.2344e-5 becomes 1.23e-5
    writer.append([pair(lr=lr) for lr in (1.22e-5, 1.23e-5, 1e-3, 1.24e-2)])
    writer.write_wanted([want(lrs=None, lr_low=1.2344e-5, lr_high=1.2344e-2)])
    assert sorted(query(store=store, view="trials")["lr"].to_pylist()) == [1.23e-5, 1e-3]


def test_bounds_of_a_search_may_be_asked_for(store, writer):
    bounds = (1.2366e-5, 1.2344e-2)
    writer.append([pair(lr=lr) for lr in (1.23e-5, *bounds, 1.24e-2)])
    writer.write_wanted([want(lrs=None, lr_low=bounds[0], lr_high=bounds[1])])
    assert sorted(query(store=store, view="trials")["lr"].to_pylist()) == [*bounds]


def test_points_of_a_search_lie_within_the_bounds_of_every_field(store, writer):
    of = dataclasses.replace(cell(), searched=("init_scale", "weight_decay"))
    points = {
        Point(lr, (("init_scale", scale), ("weight_decay", decay)))
        for lr, scale, decay in itertools.product((1e-4, 1e-3), (0.5, 1.0), (1e-5, 1e-4))
    }
    trials = [pair(of.at(point), lr=point.lr) for point in points]
    writer.append(trials)
    decays = Bounds("weight_decay", 1e-4, 1e-2)
    for ranges in ((decays,), (decays, Bounds("init_scale", 0.75, 2.0)), (Bounds("other", 0.0, 1.0),)):
        row = want(of, lrs=None, lr_low=1e-3, lr_high=1e-2, ranges=ranges)
        writer.write_wanted([row])
        shown = {row["trial_id"] for row in query(store=store, view="trials").to_pylist()}
        assert shown == {spec.trial_id for spec, _ in trials if row.has(spec.point)}
        assert len(shown) == {"weight_decay": 3 - len(ranges), "other": 0}[ranges[0].name]
        assert last_wanted(store, "sweep") == {of.cell_id: row}


def test_lengths_that_are_no_longer_tested_are_left_out(store, writer):
    writer.append(seeds(1))
    writer.write_wanted([want(test_lengths=(500,))])
    assert query(store=store, view="lengths")["length"].to_pylist() == [500]
    assert query(store=store, view="cells")["length"].to_pylist() == [500]
    assert query(store=store, view="lengths", everything=True)["length"].to_pylist() == [10, 500]


def test_a_cell_that_the_grid_wants_and_no_trial_has_is_among_the_cells(store, writer):
    ran, waiting = cell("cp", rank=8), cell("cp", rank=16)
    writer.append([pair(ran)])
    wanted = [want(of, fields=fields_json(of)) for of in (ran, waiting)]
    writer.write_wanted(wanted)
    cells = query(store=store, view="cells").to_pylist()
    assert [(row["rank"], row["length"], row["num_seeds"]) for row in cells] == [
        (8, 10, 1), (8, 500, 1), (16, 10, 0), (16, 500, 0)
    ]  # fmt: skip
    assert all(cells[2][name] == cells[0][name] for name in ("sweep", "task", "m", "tier", "hidden", "max_steps"))
    assert (cells[2]["mean"], cells[2]["lr"], cells[2]["scores"], cells[2]["params"]) == (None, None, [], None)
    assert query(store=store, view="cells", everything=True).to_pylist() == cells
    assert last_wanted(store, "sweep") == {each.cell_id: each for each in wanted}


def test_a_searched_field_of_a_cell_without_a_trial_has_no_value(store, writer):
    of = dataclasses.replace(cell("cp", rank=8), searched=("rank",))
    writer.write_wanted([want(of, fields=fields_json(of))])
    rows = query(store=store, view="cells").to_pylist()
    assert [(row["rank"], row["searched"]) for row in rows] == [(None, [{"name": "rank", "value": None}])] * 2
