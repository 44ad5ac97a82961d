"""What a column of a stored trial describes, which the column says of itself.

Tasks and tiers of other packages have fields that bilin does not know, and their rows must be read where the
packages are not installed. So each column that is a field says in its metadata whose field it is, in the part
files as in what a query returns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from bilin.fields import Field, fields_of

_KEY = b"bilin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a column is.

    Attributes:
        blocks: Whose field: of a ``task``, a ``tier``, or of ``train``.
        required: The tasks and tiers that must be given it.
        optional: Whether null is one of its values.
    """

    blocks: frozenset[str]
    required: frozenset[str] = frozenset()
    optional: bool = False

    def united(self, other: Described) -> Described:
        """What a column is that two places know."""
        return Described(
            blocks=self.blocks | other.blocks,
            required=self.required | other.required,
            optional=self.optional or other.optional,
        )


def field_columns(settings: type, block: str, name: str = "") -> Iterator[pa.Field]:
    """A column for each field of a settings class.

    Args:
        settings: The class.
        block: ``task``, ``tier`` or ``train``.
        name: The name of the task or tier.
    """
    for field in fields_of(settings).values():
        required = frozenset({name} if field.required else ())
        yield _say(
            pa.field(field.name, _arrow_type(field)),
            Described(blocks=frozenset({block}), required=required, optional=field.optional),
        )


def described(column: pa.Field) -> Described | None:
    """What a column says of itself; None for one that is no field."""
    said = (column.metadata or {}).get(_KEY)
    if said is None:
        return None
    values = json.loads(said)
    return Described(
        blocks=frozenset(values["blocks"]), required=frozenset(values["required"]), optional=values["optional"]
    )


def fields_in(schema: pa.Schema, *blocks: str) -> list[str]:
    """The columns that are fields of some blocks, in their order."""
    return [column.name for column in schema if (what := described(column)) and what.blocks.intersection(blocks)]


def unite(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The columns of all schemas, each once, those of the first in their order.

    A column of several types gets one that holds them all, and columns whose names differ in case alone are one, as
    they are in SQL: packages that are never in one sweep may use a name for different things. `conform` does
    the same to tables. A field of a task goes to those of tasks, one of a tier to those of tiers.
    """
    first, *others = schemas
    columns = {column.name.lower(): column for column in first}
    for column in (column for schema in others for column in schema):
        key = column.name.lower()
        columns[key] = _united(columns[key], column) if key in columns else column
    known = {column.name.lower() for column in first}
    new = [column for key, column in columns.items() if key not in known]
    ordered: list[pa.Field] = []
    for column in (columns[column.name.lower()] for column in first):
        block = {"tier": "task", "max_steps": "tier"}.get(column.name)
        ordered += [each for each in new if block and (what := described(each)) and block in what.blocks]
        ordered.append(column)
    return pa.schema([*ordered, *(each for each in new if each not in ordered)])


def conforms(schema: pa.Schema, united: pa.Schema) -> bool:
    """Whether Arrow reads a file of a schema as one of a united schema by itself."""
    return all(
        united.get_field_index(column.name) >= 0
        and pa.types.is_list(column.type) == pa.types.is_list(united.field(column.name).type)
        for column in schema
    )


def conform(table: pa.Table, united: pa.Schema) -> pa.Table:
    """A table with the names, types and order of a united schema; the columns that it lacks are left out."""
    if table.schema == united:
        return table
    names = {name.lower(): name for name in table.column_names}
    kept = [column for column in united if column.name.lower() in names]
    arrays = [_cast(table[names[column.name.lower()]], column.type) for column in kept]
    return pa.table(arrays, schema=pa.schema(kept))


def describe(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table whose columns say again what those of the same names in a schema say; DuckDB leaves it out."""
    said = [schema.field(name).metadata if name in schema.names else None for name in table.column_names]
    columns = [column.with_metadata(what) for column, what in zip(table.schema, said, strict=True)]
    return table.cast(pa.schema(columns))


def _say(column: pa.Field, what: Described) -> pa.Field:
    values = {"blocks": sorted(what.blocks), "required": sorted(what.required), "optional": what.optional}
    return column.with_metadata({_KEY: json.dumps(values).encode()})


def _united(one: pa.Field, other: pa.Field) -> pa.Field:
    if one.equals(other, check_metadata=True):
        return one
    column = one.with_type(_common(one.type, other.type))
    mine, theirs = described(one), described(other)
    return _say(column, mine.united(theirs)) if mine and theirs else column


def _common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """A type that holds the values of two: text, where nothing else does."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if pa.types.is_list(one) and pa.types.is_list(other):
        return pa.list_(_common(one.value_type, other.value_type))
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return pa.struct(unite([pa.schema(list(one)), pa.schema(list(other))]))
    if all(pa.types.is_integer(type_) or pa.types.is_floating(type_) for type_ in (one, other)):
        return pa.float64()
    return pa.string()


def _cast(column: pa.ChunkedArray, type_: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_list(column.type) and not pa.types.is_list(type_):
        texts = [None if value is None else json.dumps(value) for value in column.to_pylist()]
        return pa.chunked_array([texts], pa.string())
    return column.cast(type_)


def _arrow_type(field: Field) -> pa.DataType:
    item = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}[field.type]
    return pa.list_(item) if field.is_list else item
