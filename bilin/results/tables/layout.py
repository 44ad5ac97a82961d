"""Where each cell stands in a table: models against tasks, or any fields against any others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bilin.errors import QueryError, unknown
from bilin.models import MODELS
from bilin.results.result_table import readable
from bilin.results.schema import cell_columns, field_info, fields_in
from bilin.tasks import TASKS

Cell = Mapping[str, Any]
"""A row of the view `cells`."""

_SEARCHED = "searched"
"""Stands for the value of a searched field, which does not tell models apart."""

_SIZES = ("params", "recurrent_params")
"""Columns that are no field, and yet an axis."""


@dataclass(frozen=True, slots=True)
class Place:
    """A column of a table: its name in the data, the title of its section, and its heading there."""

    name: str
    section: str
    heading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where each cell stands.

    Attributes:
        headings: The headings of the columns that name a row.
        rows: What names each row, in order.
        groups: The group of each row; rows of one group follow each other.
        places: The other columns, in order.
        cells: The cell at each row and column that has one.
        schema: The columns of the view `cells`.
    """

    headings: Sequence[str]
    rows: Sequence[tuple[Any, ...]]
    groups: Sequence[Any]
    places: Sequence[Place]
    cells: Mapping[tuple[tuple[Any, ...], str], Cell]
    schema: pa.Schema

    def column(self, place: Place) -> list[Cell | None]:
        """Return the cells of a column, from the first row to the last."""
        return [self.cells.get((row, place.name)) for row in self.rows]

    def row_arrays(self) -> dict[str, pa.Array]:
        """Return the columns that name the rows."""
        arrays = {}
        for index, heading in enumerate(self.headings):
            type_ = self.schema.field(heading).type if heading in self.schema.names else pa.string()
            arrays[heading] = axis_array([row[index] for row in self.rows], type_)
        return arrays


def axis_array(values: Sequence[Any], type_: pa.DataType | None = None) -> pa.Array:
    """Return the values of a field as a column; of texts if the field is searched in some cells."""
    if _SEARCHED in values:
        return pa.array([None if value is None else readable(value) for value in values], pa.string())
    return pa.array(values, type_)


def at_lengths(cells: Sequence[Cell], schema: pa.Schema, length: int | None, *, only_greatest: bool) -> list[Cell]:
    """Return the cells of one length, by default of the greatest of each variant of a task, or of all lengths.

    Raises:
        QueryError: No trial was tested at the length.
    """
    names = ["task", *fields_in(schema, "task")]
    cells = [without_searched(cell) for cell in cells]
    variants = [tuple(str(cell[name]) for name in names) for cell in cells]
    tested: dict[tuple[str, ...], set[int]] = defaultdict(set)
    for cell, variant in zip(cells, variants, strict=True):
        tested[variant].add(cell["length"])
    if length is not None and cells and not any(length in lengths for lengths in tested.values()):
        known = ", ".join(map(str, sorted(set().union(*tested.values()))))
        raise QueryError(f"no trial was tested at length {length}; tested: {known}")
    if length is not None:
        return [cell for cell in cells if cell["length"] == length]
    pairs = zip(cells, variants, strict=True)
    return [cell for cell, variant in pairs if not only_greatest or cell["length"] == max(tested[variant])]


def models_by_tasks(cells: Sequence[Cell], schema: pa.Schema, *, by_length: bool) -> Layout:
    """Return a row for each model, and a column for each task, or for each length of each task."""
    placed: dict[tuple[tuple[str], str], Cell] = {}
    places: dict[Place, int] = {}
    first: dict[str, Cell] = {}
    for cell, (model, task) in zip(cells, labels(cells, schema), strict=True):
        kind, at = cell["task"], cell["length"]
        section = task if by_length else f"{kind}, length {at}"
        place = Place(f"{task}, length {at}", section, str(at) if by_length else task.removeprefix(f"{kind} "))
        places[place] = at
        placed[(model,), place.name] = cell
        first.setdefault(model, cell)
    sections = list(dict.fromkeys(place.section for place in places))
    order = model_order(schema)
    in_order = sorted(first, key=lambda model: order(first[model]))
    return Layout(
        headings=["model"],
        rows=[(model,) for model in in_order],
        groups=[first[model]["tier"] for model in in_order],
        places=sorted(places, key=lambda place: (sections.index(place.section), places[place])),
        cells=placed,
        schema=schema,
    )


def labels(cells: Sequence[Cell], schema: pa.Schema) -> list[tuple[str, str]]:
    """Return a short label for the model and the task of each row of `cells` or `trials`.

    Models with one label, which differ in their validation, get their ids.
    """
    models = _labels(cells, "tier", schema, shared=[*fields_in(schema, "train"), "sweep"])
    tasks = _labels(cells, "task", schema)
    ids = defaultdict(set)
    for cell, model, task in zip(cells, models, tasks, strict=True):
        ids[model, task].add(cell["cell_id"])
    return [
        (model if len(ids[model, task]) == 1 else f"{model} {cell['cell_id']}", task)
        for cell, model, task in zip(cells, models, tasks, strict=True)
    ]


def model_order(schema: pa.Schema) -> Callable[[Cell], list[Any]]:
    """Return what sorts models by tier, then by their fields."""
    names = ["tier", *fields_in(schema, "tier", "train"), "sweep", "cell_id"]
    return lambda cell: [_sortable(name, cell[name]) for name in names]


def task_order(schema: pa.Schema) -> Callable[[Cell], list[Any]]:
    """Return what sorts tasks by kind, then by their fields."""
    names = ["task", *fields_in(schema, "task")]
    return lambda cell: [_sortable(name, cell[name]) for name in names]


def without_searched(cell: Cell) -> Cell:
    """Return a row without the values of searched fields, which do not tell models apart."""
    return {**cell, **{field["name"]: _SEARCHED for field in cell["searched"] or ()}}


def pivot(cells: Sequence[Cell], schema: pa.Schema, *, rows: Sequence[str], cols: Sequence[str]) -> Layout:
    """Return a row for each combination of the values of some fields, and a column for each of others.

    Raises:
        QueryError: A name is not one of a field, or several cells are at one position.
    """
    accepted = [*cell_columns(schema), "length", "sweep", "cell_id", *_SIZES]
    accepted.remove("searched")
    for name in (*rows, *cols):
        if name not in accepted:
            raise QueryError(unknown("axis", name, accepted))
    if len({*rows, *cols}) < len(rows) + len(cols):
        raise QueryError(f"an axis is named twice; rows: {', '.join(rows)}; columns: {', '.join(cols)}")

    def values(cell: Cell, names: Iterable[str]) -> tuple[Any, ...]:
        return tuple(tuple(cell[name]) if isinstance(cell[name], list) else cell[name] for name in names)

    by_position: dict[tuple[tuple[Any, ...], tuple[Any, ...]], list[Cell]] = defaultdict(list)
    for cell in cells:
        by_position[values(cell, rows), values(cell, cols)].append(cell)
    for position, several in by_position.items():
        if len(several) > 1:
            raise _ambiguous(several, dict(zip((*rows, *cols), sum(position, ()), strict=True)), accepted)
    row_keys = sorted({row for row, _ in by_position}, key=_order_of(rows))
    col_keys = sorted({col for _, col in by_position}, key=_order_of(cols))
    places = dict(zip(col_keys, _places(cols, col_keys, taken=rows), strict=True))
    return Layout(
        headings=list(rows),
        rows=row_keys,
        groups=[row[0] for row in row_keys],
        places=list(places.values()),
        cells={(row, places[col].name): several[0] for (row, col), several in by_position.items()},
        schema=schema,
    )


def _places(names: Sequence[str], keys: Sequence[tuple[Any, ...]], *, taken: Collection[str]) -> list[Place]:
    """Return the column of each key: its last value is the heading, those before are the section.

    A value is rounded unless another is rounded to the same text. The name in the data has the exact values.
    """
    short = {name: _short(key[index] for key in keys) for index, name in enumerate(names)}
    places = []
    for key in keys:
        pairs = [(name, value) for name, value in zip(names, key, strict=True) if value is not None]
        full = ", ".join(_titled(name, exact(value)) for name, value in pairs) or "result"
        if full in taken:  # by a field of the rows
            full = ", ".join(f"{name}={exact(value)}" for name, value in pairs)
        *before, last = [_titled(name, short[name](value)) for name, value in pairs] or ["result"]
        places.append(Place(full, ", ".join(before), last))
    return places


def _short(values: Iterable[Any]) -> Callable[[Any], str]:
    """Return what shows each of some values: rounded, unless another one is rounded to the same text."""
    seen = Counter(map(readable, {str(value): value for value in values}.values()))
    return lambda value: readable(value) if seen[readable(value)] == 1 else exact(value)


def _titled(name: str, text: str) -> str:
    return text if name in ("task", "tier", "sweep") else f"{name}={text}"


def exact(value: Any) -> str:
    """Return a value as people see it, with more digits if these are not all."""
    text = readable(value)
    return repr(value) if isinstance(value, float) and float(text) != value else text


def _ambiguous(cells: Sequence[Cell], position: Mapping[str, Any], accepted: Sequence[str]) -> QueryError:
    """Return the error for several cells at one position, which names the fields that tell them apart."""
    at = ", ".join(f"{name}={readable(value)}" for name, value in position.items())
    names = [name for name in accepted if name not in (*position, *_SIZES, "cell_id") and _varies(cells, name)]
    names = names or ["cell_id"]
    apart = [f"{name} ({', '.join(_values(cells, name))})" for name in names]
    return QueryError(
        f"{len(cells)} cells are at {at}; they differ in {', '.join(apart)}. Add {' or '.join(names)} to the "
        "rows or columns, or select cells with a condition (--where)"
    )


def _values(cells: Sequence[Cell], name: str) -> list[str]:
    values = sorted({_sortable(name, cell[name]) for cell in cells if not isinstance(cell[name], list)})
    return [readable(value) or "none" for *_, value in values]


def _order_of(names: Sequence[str]) -> Callable[[tuple[Any, ...]], list[Any]]:
    return lambda values: [_sortable(name, value) for name, value in zip(names, values, strict=True)]


def _sortable(name: str, value: Any) -> tuple[Any, ...]:
    """Sort tiers and tasks in the order of their registries and then by name, others by value, and null last."""
    registry = list({"tier": MODELS, "task": TASKS}.get(name, ()))
    return (value is None, value == _SEARCHED, registry.index(value) if value in registry else len(registry), value)


def _labels(cells: Sequence[Cell], kind: str, schema: pa.Schema, shared: Collection[str] = ()) -> list[str]:
    """Return a short label for the task or tier of each cell, such as ``cp rank=64``.

    It has the fields that must be given, and those that tell apart the cells of one name. A shared field, such as
    one of the training, is in the label only if it varies within one variant of a task.
    """
    variant = ["task", *fields_in(schema, "task")]
    required = {name: info.required for name in fields_in(schema, kind) if (info := field_info(schema.field(name)))}
    fields = {}
    for group in _grouped(cells, [kind]):
        name = group[0][kind]
        parts = _grouped(group, variant)
        fields[name] = [
            *(field for field, required_by in required.items() if name in required_by or _varies(group, field)),
            *(field for field in shared if any(_varies(part, field) for part in parts)),
        ]
    short = {name: _short(cell[name] for cell in cells) for name in set().union(*fields.values())}
    found = []
    for cell in cells:
        given = (name for name in fields[cell[kind]] if cell[name] is not None)
        found.append(" ".join([cell[kind], *(f"{name}={short[name](cell[name])}" for name in given)]))
    return found


def _grouped(cells: Sequence[Cell], names: Sequence[str]) -> Collection[Sequence[Cell]]:
    """Group the cells by the values of some fields."""
    groups: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[tuple(str(cell[name]) for name in names)].append(cell)
    return groups.values()


def _varies(cells: Sequence[Cell], name: str) -> bool:
    return len({str(cell[name]) for cell in cells}) > 1
