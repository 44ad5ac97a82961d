"""Two sweeps cell by cell: the difference of their accuracies, and which cells changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bilin.errors import QueryError
from bilin.folder import DEFAULT_STORE
from bilin.results.published.compare import TOLERANCE, beside_published, source_of
from bilin.results.result_table import MISSING, Column, Estimate, ResultTable, is_number
from bilin.results.schema import cell_columns, field_info
from bilin.results.sql.open_store import at_one_moment
from bilin.results.sql.query import query
from bilin.results.statistics import difference
from bilin.results.store.contents import sweep_names
from bilin.results.tables.layout import Cell, at_lengths, axis_array, exact
from bilin.units import plural

_Key = tuple[Any, ...]


def compare(
    store: Path | str = DEFAULT_STORE,
    *,
    sweep: str | None = None,
    against: str | None = None,
    tolerance: float | None = None,
    everything: bool = False,
) -> ResultTable:
    """Return the cells of a sweep beside those of another sweep, or beside published accuracies.

    Fields that are the same in all cells of each sweep, but not in both, such as ``max_steps``, do not keep cells
    apart: the note names them.

    Args:
        store: Directory of the store. With published accuracies, the default one need not exist.
        sweep: The sweep to look at; None looks at all, which is possible beside published accuracies.
        against: The other sweep, or the source of published accuracies, such as ``2505.21749``; None means all sources.
        tolerance: Up to this difference, two accuracies are the same; by default 0, or 0.02 beside published ones.
        everything: Include rows that the grid of the last launch does not ask for.

    Raises:
        QueryError: There is no such source, or cells of a sweep cannot be told apart.
        StoreError: The sweep does not exist, or the store cannot be read.
    """
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise QueryError(f"found a tolerance of {tolerance}; accepted: a number of at least 0")
    names = sweep_names(store) if against is not None and Path(store).exists() else []
    if against not in names:
        source = None if against is None else source_of(against, others=names)
        tolerance = TOLERANCE if tolerance is None else tolerance
        return beside_published(store, sweep=sweep, everything=everything, source=source, tolerance=tolerance)
    assert against is not None
    if sweep is None or sweep == against:
        raise QueryError(f"name two sweeps to compare: {against} and another")
    names = [sweep, against]
    sides = at_one_moment(
        store,
        lambda opened: [query(store=opened, view="cells", sweep=name, everything=everything) for name in names],
        sweeps=names,
    )
    one, other = (at_lengths(side.to_pylist(), side.schema, None, only_greatest=False) for side in sides)
    schema = pa.unify_schemas([side.schema for side in sides])
    return _Differences(sweep, against, one, other, schema).table(tolerance or 0.0)


class _Differences:
    """The cells of two sweeps that are the same but for fields in which the sweeps as a whole differ."""

    def __init__(self, name: str, other_name: str, one: Sequence[Cell], other: Sequence[Cell], schema: pa.Schema):
        self._names = name, other_name
        self._schema = schema
        fields = [field for field in cell_columns(schema) if field != "searched"]
        self._apart = {
            field: (ours.pop(), theirs.pop())
            for field in fields
            if len(ours := _texts(one, field)) == len(theirs := _texts(other, field)) == 1 and ours != theirs
        }
        self._keys = [*(field for field in fields if field not in self._apart), "length"]
        self._sides = self._by_key(name, one), self._by_key(other_name, other)

    def table(self, tolerance: float) -> ResultTable:
        """Return a row for each cell and length of either sweep."""
        keys = list(dict.fromkeys([*self._sides[0], *self._sides[1]]))
        pairs = [(self._sides[0].get(key), self._sides[1].get(key)) for key in keys]
        rows = [self._row(one, other, tolerance) for one, other in pairs]
        changes = Counter(row["change"] for row in rows)
        note = (
            f"accuracies at the selected learning rate, scaled so that chance is 0; difference: {self._names[0]} minus "
        )
        note += f"{self._names[1]}, with its 95 % interval over the seeds (Welch)"
        others = [f"{count} {change}" for change, count in changes.items() if change != "same"]
        note += f"\nwithin {tolerance:g}: " + ", ".join([f"{changes['same']} of {plural(len(rows), 'row')}", *others])
        apart = [f"{field} ({' and '.join(values)})" for field, values in self._apart.items()]
        note += f"\nthe sweeps differ in {', '.join(apart)}" if apart else ""
        note += self._why_none() if rows and not any(one and other for one, other in pairs) else ""
        shown = [name for name in self._keys if self._is_shown(name, keys)]
        arrays = {name: axis_array([key[self._keys.index(name)] for key in keys]) for name in shown}
        columns = [Column(name=name, heading=name, right_aligned=is_number(arrays[name].type)) for name in shown]
        for name, type_, heading in _COLUMNS:
            values = [row[name] for row in rows]
            arrays[name] = pa.array(values, type_)
            if heading is not None:
                title = heading.format(*self._names)
                columns.append(Column(name=name, heading=title, missing=MISSING, values=_shown(name, values, rows)))
        return ResultTable(data=pa.table(arrays), columns=columns if rows else [], note=note)

    def _why_none(self) -> str:
        """Return why no cell is in both sweeps: what no cell of one has in common with a cell of the other."""
        apart = []
        for index, name in enumerate(self._keys):
            ours, theirs = ({key[index] for key in side} for side in self._sides)
            if not ours & theirs:
                both = (", ".join(sorted(exact(each) or "none" for each in values)) for values in (ours, theirs))
                apart.append(f"{name} ({' and '.join(both)})")
        why = f": they differ in {'; '.join(apart)}" if apart else ""
        return f"\nno cell at any length is in both sweeps{why}"

    def _by_key(self, sweep: str, cells: Sequence[Cell]) -> dict[_Key, Cell]:
        found: dict[_Key, Cell] = {}
        for cell in cells:
            key = tuple(tuple(value) if isinstance(value := cell[name], list) else value for name in self._keys)
            if key in found:
                raise QueryError(f"cells {found[key]['cell_id']} and {cell['cell_id']} of {sweep} have the same fields")
            found[key] = cell
        return found

    def _is_shown(self, name: str, keys: Sequence[_Key]) -> bool:
        """Whether a field tells cells apart, or always matters."""
        values = {key[self._keys.index(name)] for key in keys}
        info = field_info(self._schema.field(name))
        values -= set() if info and info.optional else {None}  # null says that the field does not apply
        is_required = info is not None and bool(info.required) and bool(values)
        return name in ("task", "tier", "length") or is_required or len(values) > 1

    def _row(self, one: Cell | None, other: Cell | None, tolerance: float) -> dict[str, Any]:
        mean, other_mean = (cell["mean"] if cell else None for cell in (one, other))
        row: dict[str, Any] = {
            "mean": mean,
            "other_mean": other_mean,
            "num_seeds": one and one["num_seeds"],
            "other_num_seeds": other and other["num_seeds"],
            "difference": None,
            "low": None,
            "high": None,
        }
        if one is None or other is None:
            return {**row, "change": f"only in {self._names[1] if one is None else self._names[0]}"}
        if mean is None or other_mean is None:
            return {**row, "change": "no number"}
        row["difference"], row["low"], row["high"] = difference(one["scores"], other["scores"])
        return {**row, "change": _change(row, tolerance)}


_COLUMNS = (
    ("num_seeds", pa.int64(), None),
    ("mean", pa.float64(), "{0}"),
    ("other_num_seeds", pa.int64(), None),
    ("other_mean", pa.float64(), "{1}"),
    ("difference", pa.float64(), "difference"),
    ("low", pa.float64(), None),
    ("high", pa.float64(), None),
    ("change", pa.string(), "change"),
)
"""The columns besides the fields: name, type, and heading for people; None if they do not see it."""


def _change(row: Mapping[str, Any], tolerance: float) -> str:
    """Say whether an accuracy is higher or lower than the other; ``unclear`` if the interval contains 0."""
    if abs(row["difference"]) <= tolerance:
        return "same"
    if row["low"] is not None and row["low"] <= 0 <= row["high"]:
        return "unclear"
    return "higher" if row["difference"] > 0 else "lower"


def _shown(name: str, values: Sequence[Any], rows: Sequence[Mapping[str, Any]]) -> Sequence[Any] | None:
    """Return the numbers of a column for people."""
    if name == "difference":
        ends = [(row["low"], row["high"]) for row in rows]
        return [
            value if value is None else Estimate(value=value, low=low, high=high, is_symmetric=True, is_share=False)
            for value, (low, high) in zip(values, ends, strict=True)
        ]
    if name in ("mean", "other_mean"):
        return [value if value is None else Estimate(value=value) for value in values]
    return None


def _texts(cells: Sequence[Cell], name: str) -> set[str]:
    return {exact(cell[name]) or "none" for cell in cells}
