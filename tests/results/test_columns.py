"""Rows of tasks and tiers that bilin does not know: kept whole in parts, merges and views."""

from __future__ import annotations

import json
from dataclasses import dataclass, make_dataclass
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bilin.fields import fields_of, option
from bilin.models import Tier
from bilin.results import SweepWriter, brief, query, table
from bilin.results.schema import cell_columns, conform, field_info, trials_schema, unite
from bilin.results.store.parts import FAN_IN
from bilin.spec import Cell, TrainSpec, ValidateSpec
from bilin.tasks.modular_addition import ModularAddition
from tests.results.samples import forget_checksums, pair, seeds


@dataclass(frozen=True, slots=True, kw_only=True)
class Other(Tier):
    tier: ClassVar[str] = "other"

    order: int = option(at_least=1, doc="a word of SQL")
    knots: int | None = option(None, doc="a field that may be null")

    def build(self, *, vocab_size: int, num_classes: int) -> Any:
        raise NotImplementedError


def tier(name: str, field: str, type_: Any) -> Any:
    """A tier of a class that is made here, with one field."""
    names = {"tier": name, "scale_invariant": False}
    made = make_dataclass(name, [(field, type_, option(doc="a field"))], frozen=True, namespace=names)
    made.__annotations__ = {field: type_}
    return made


def cell(model: Any, m: int = 2) -> Cell:
    return Cell(task=ModularAddition(m=m), model=model, train=TrainSpec(), validate=ValidateSpec())


def write(store: Any, *models: Any, sweep: str = "sweep") -> None:
    """One part for each model."""
    with SweepWriter(store, sweep) as writer:
        for model in models:
            writer.append([pair(cell(model))])


def test_the_fields_of_another_package_are_columns_among_those_of_the_cell(store):
    write(store, Other(order=3))
    for view in ("trials", "cells"):
        rows = query(store=store, view=view)
        names = rows.column_names
        assert names.index("tier") < names.index("order") < names.index("knots") < names.index("max_steps")
        assert (rows["order"].to_pylist()[0], rows["hidden"].to_pylist()[0]) == (3, 256)
    (row,) = query("SELECT spec FROM trials", store=store).to_pylist()
    assert json.loads(row["spec"])["model"] == {
        "tier": "other",
        **{name: getattr(Other(order=3), name) for name in fields_of(Other)},
    }


def test_they_are_shown_as_those_of_bilin_are(store):
    write(store, Other(order=3), Other(order=3, knots=5), tier("another", "width", int)(width=7))
    rows = query(store=store)
    assert {"order", "knots"} <= set(rows.column_names), "one must be given, the other varies"
    assert "width" in rows.column_names, "it must be given"
    assert "hidden" not in rows.column_names
    assert table(store).data["model"].to_pylist() == [
        "another width=7",
        "other order=3 knots=5",
        "other order=3",
    ]
    trials = query(store=store, view="trials")
    assert "knots" in brief(trials).column_names
    assert "knots" not in brief(query(store=store, view="trials", where="knots = 5")).column_names


def test_merging_keeps_them(store):
    write(store, Other(order=3, knots=5))
    before = query(store=store, view="trials", where="tier = 'other'").to_pylist()
    with SweepWriter(store, "sweep") as writer:
        for each in seeds(FAN_IN):
            writer.append([each])
    assert len(list((store / "sweep").glob("trials-*.parquet"))) == 2
    assert query(store=store, view="trials", where="tier = 'other'").to_pylist() == before
    assert field_info(query(store=store, view="trials").schema.field("knots")).optional


@pytest.mark.parametrize(
    ("types", "values", "expected"),
    [
        ((int, float), (1, 0.5), [1.0, 0.5]),
        ((int, str), (1, "wide"), ["1", "wide"]),
        ((bool, int), (True, 3), ["true", "3"]),
        ((str, tuple[int, ...]), ("wide", (1, 2)), ["wide", "[1, 2]"]),
        ((tuple[int, ...], float), ((1, 2), 0.5), ["[1, 2]", "0.5"]),
        ((tuple[int, ...], tuple[str, ...]), ((1, 2), ("a",)), [["1", "2"], ["a"]]),
    ],
)
@pytest.mark.parametrize("merged", [False, True])
def test_a_name_that_two_packages_use_for_two_types_is_read(store, types, values, expected, merged):
    one, other = (tier("one", "knots", types[0])(values[0]), tier("two", "Knots", types[1])(values[1]))
    write(store, one, other)
    if merged:
        with SweepWriter(store, "sweep") as writer:
            for each in seeds(FAN_IN):
                writer.append([each])
    for view in ("trials", "cells"):
        rows = query(store=store, view=view, where="knots IS NOT NULL", sort="tier", select="tier, knots")
        assert list(dict(zip(rows["tier"].to_pylist(), rows["knots"].to_pylist(), strict=True)).values()) == expected


def test_old_parts_without_the_new_columns_are_read(store):
    write(store, Other(order=3))
    path = store / "sweep/trials-00000001.parquet"
    pq.write_table(
        pq.read_table(path, partitioning=None).drop_columns(["task_package", "tier_package", "gpu", "gpu_memory_mb"]),
        path,
    )
    forget_checksums(store / "sweep")
    (row,) = query(store=store, view="trials").to_pylist()
    assert (row["task_package"], row["tier_package"], row["order"]) == (None, None, 3)
    assert (row["gpu"], row["gpu_memory_mb"]) == (None, None)


def test_united_columns_keep_the_order_of_the_first():
    other = pa.schema([("kept", pa.string()), ("M", pa.float64())])
    united = unite([trials_schema(), other])
    assert united.names == [*trials_schema().names, "kept"]
    assert united.field("m").type == pa.float64()
    assert "kept" not in cell_columns(united)
    assert conform(pa.table({"M": [2.0]}), united).column_names == ["m"]
