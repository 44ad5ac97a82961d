"""`bilin models` and `bilin tasks`: text for people, wrapped only in a terminal, or JSON."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bilin.cli import complete
from bilin.errors import GridError, InputError, PluginError

if TYPE_CHECKING:
    from bilin.catalog import Listed
    from bilin.fields import Field

GAP = "  "

_ALL_HOLD, _SOME_FAIL = 40, 41
"""Exit codes of ``python -m bilin.testing``."""


class Format(StrEnum):
    """How a listing is written."""

    text = "text"
    json = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="Output format.")]
Name = Annotated[str, typer.Argument(help="Its name in the list.", show_default=False, autocompletion=complete.entries)]


def _app(kind: str, *, listing: str, one: str) -> typer.Typer:
    """Return the commands of one kind: the list of all, and `show`. The texts are their helps."""
    app = typer.Typer(invoke_without_command=True)

    @app.callback(help=listing)
    def list_all(context: typer.Context, format_: FormatOption = Format.text) -> None:
        from bilin import catalog

        if context.invoked_subcommand is None:
            _print_all(catalog.listed(kind), format_)

    @app.command(help=one)
    def show(name: Name, format_: FormatOption = Format.text) -> None:
        from bilin import catalog

        _print_one(catalog.find(kind, name), format_)

    return app


models_app = _app(
    "models",
    listing="List the tiers (models): bilin's own and those of installed packages. `show` describes one.",
    one="Describe a tier: its formula, symbols, sources and fields.",
)
tasks_app = _app(
    "tasks",
    listing="List the tasks: bilin's own and those of installed packages. `show` describes one.",
    one="Describe a task: what must be predicted, with examples, and its fields.",
)


@models_app.command()
def check(
    name: Name,
    set_: Annotated[
        list[str],
        typer.Option("--set", metavar="FIELD=VALUE", help="Set a field; a list tests each value. Repeatable."),
    ] = [],
) -> None:
    """Test that a tier keeps the contract: shapes, causality, padding, gradients, seeds, and a carried state.

    Tests small settings: hidden is 8 unless --set says otherwise. Needs pytest.

    Exit codes: 0 every check holds, 1 some do not, 2 there is no such tier, or its settings are wrong.
    """
    from bilin import catalog
    from bilin.fields import values_of
    from bilin.orchestrator.grid import read_grid

    listed = catalog.find("models", name)
    if listed.error:
        raise PluginError(f"{name}: {listed.error}")
    if importlib.util.find_spec("pytest") is None:
        raise InputError("bilin models check needs pytest: `pip install pytest` in the environment of bilin")
    document: dict[str, object] = {
        "name": "check",
        "tasks": [{"name": "parity"}],
        "models": [{"tier": name, "hidden": 8}],
    }
    document["learning_rate"] = {"choices": [1e-3]}
    try:
        grid = read_grid(document, overrides=[f"models.{text}" for text in set_])
    except GridError as error:
        fields = [fault.path.rpartition(".")[2] for fault in error.faults if fault.message.startswith("missing")]
        if not fields:
            raise
        options = " ".join(f"--set {field}=VALUE" for field in fields)
        raise InputError(f"{error}\n  give what is missing: bilin models check {name} {options}") from error
    settings = [values_of(model) for model in dict.fromkeys(cell.cell.model for cell in grid.cells)]
    command = [sys.executable, "-P", "-m", "bilin.testing", name]
    done = subprocess.run(command, input=json.dumps(settings), text=True, check=False)
    if done.returncode not in (_ALL_HOLD, _SOME_FAIL):
        typer.echo(f"FAILED   {name} ended the process of the checks, with exit code {done.returncode}")
    raise typer.Exit(int(done.returncode != _ALL_HOLD))


def _print_all(listed: Sequence[Listed], format_: Format) -> None:
    if format_ is Format.json:
        typer.echo(json.dumps([_plain(entry) for entry in listed], indent=2, ensure_ascii=False))
    else:
        typer.echo("\n\n".join("\n".join(_entry(entry)) for entry in listed))


def _print_one(listed: Listed, format_: Format) -> None:
    """Print one entry: the docstring of its file, a table of its fields, and its origin."""
    if format_ is Format.json:
        typer.echo(json.dumps({**_plain(listed), "text": listed.text}, indent=2, ensure_ascii=False))
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
    """Return lines that say where an entry comes from, and what is wrong with it."""
    parts = (("source", listed.source), ("package", listed.package), ("error", listed.error))
    return [f"{name}: {text}" for name, text in parts if text]


def _wrap(line: str) -> list[str]:
    if not sys.stdout.isatty():
        return [GAP + line]
    width = shutil.get_terminal_size().columns
    return textwrap.wrap(line, width, initial_indent=GAP, subsequent_indent=2 * GAP, break_on_hyphens=False)


def _field_table(fields: Iterable[Field]) -> str:
    """Return a table with one line per field, or a list if the terminal is too narrow for the table."""
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
    """Return the default of a field as a grid writes it."""
    if field.required:
        return "required"
    return f"{field.default:g}" if isinstance(field.default, float) else json.dumps(field.default).strip('"')


def _plain(listed: Listed) -> dict[str, Any]:
    names = ("name", "required", "accepted", "doc")
    fields = [
        {**{name: getattr(field, name) for name in names}, "default": None if field.required else field.default}
        for field in listed.fields
    ]
    return {
        "name": listed.name,
        "summary": listed.summary,
        "fields": fields,
        "source": listed.source,
        "package": listed.package,
        "error": listed.error,
    }
