"""Listings of tasks and tiers: text for people, wrapped to a terminal and nowhere else, or JSON."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bilin.catalog import Listed
    from bilin.fields import Field

GAP = "  "


class OutputFormat(StrEnum):
    """How a listing is written."""

    text = "text"
    json = "json"


Format = Annotated[OutputFormat, typer.Option("--format", help="How to write it.")]


def print_all(listed: Sequence[Listed], format_: OutputFormat) -> None:
    """Each with its line, its fields, and where it comes from."""
    if format_ is OutputFormat.json:
        _print_json([_plain(each) for each in listed])
        return
    typer.echo("\n\n".join("\n".join(_entry(each)) for each in listed))


def print_one(listed: Listed, format_: OutputFormat) -> None:
    """All of one: what its file says, and a table of its fields."""
    if format_ is OutputFormat.json:
        _print_json({**_plain(listed), "text": listed.text})
        return
    parts = [listed.text or listed.name, *([_field_table(listed.fields)] if listed.fields else [])]
    if origin := _origin(listed):
        parts.append("\n".join(origin))
    typer.echo("\n\n".join(parts))


def _entry(listed: Listed) -> list[str]:
    fields = ", ".join(f"{field.name} {_default(field)}" for field in listed.fields)
    lines = [line for line in (listed.summary, fields, *_origin(listed)) if line]
    return [listed.name, *(wrapped for line in lines for wrapped in _wrap(line))]


def _origin(listed: Listed) -> list[str]:
    """Where it comes from, and what is wrong with it."""
    parts = (("source", listed.source), ("package", listed.package), ("fault", listed.fault))
    return [f"{name}: {text}" for name, text in parts if text]


def _wrap(line: str) -> list[str]:
    if not sys.stdout.isatty():
        return [GAP + line]
    width = shutil.get_terminal_size().columns
    return textwrap.wrap(line, width, initial_indent=GAP, subsequent_indent=2 * GAP, break_on_hyphens=False)


def _field_table(fields: Iterable[Field]) -> str:
    """A line a field; where the terminal is too narrow for that, a line for each thing that is said of it."""
    rows = [[field.name, _default(field), field.accepted, field.doc] for field in fields]
    table = [["field", "default", "accepted", "meaning"], *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if sys.stdout.isatty() and sum(widths) + len(GAP) * (len(widths) - 1) > shutil.get_terminal_size().columns:
        return "\n".join(
            "\n".join([f"{name} {default}", *_wrap(accepted), *_wrap(doc)]) for name, default, accepted, doc in rows
        )
    table.insert(1, ["-" * width for width in widths])
    return "\n".join(GAP.join(map(str.ljust, row, widths)).rstrip() for row in table)


def _default(field: Field) -> str:
    """A field's default as a grid writes it."""
    value = field.default
    return "required" if field.required else f"{value:g}" if isinstance(value, float) else json.dumps(value).strip('"')


def _plain(listed: Listed) -> dict[str, Any]:
    fields = [
        {
            "name": field.name,
            "required": field.required,
            "default": None if field.required else field.default,
            "accepted": field.accepted,
            "doc": field.doc,
        }
        for field in listed.fields
    ]
    return {
        "name": listed.name,
        "summary": listed.summary,
        "fields": fields,
        "source": listed.source,
        "package": listed.package,
        "fault": listed.fault,
    }


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
