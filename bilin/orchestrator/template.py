"""A first grid.yaml for chosen tasks and tiers, with a comment for each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bilin import catalog
from bilin.errors import InputError, PluginError
from bilin.fields import Field, fields_of
from bilin.folder import SWEEP_NAME, SWEEP_NAME_ACCEPTED
from bilin.orchestrator.grid import Grid, LogUniform, parse_grid
from bilin.orchestrator.grid.settings import Choices, Seeds
from bilin.spec import TestSpec, TrainSpec, ValidateSpec

_EXAMPLES: Mapping[str, Sequence[object]] = {"m": (2, 5), "group": ("S3", "A5"), "rank": (16, 64), "block_size": (2, 8)}
"""The values that are written for a required field; others get their first or lowest accepted value."""

_SIZES = {"hidden": 64, "embedding": 64, "steps": 10000}
"""Values that are written in place of defaults, which are those of a paper and take hours on a laptop."""


def grid_template(
    tasks: Sequence[str], tiers: Sequence[str], *, name: str, m: Sequence[int] = (), path: str = "grid.yaml"
) -> str:
    """Return the text of a grid with a comment for each value: small sizes, defaults, and examples of required fields.

    Args:
        tasks: The names of tasks.
        tiers: The names of tiers.
        name: The name of the sweep.
        m: The values of ``m`` of the tasks that have it.
        path: Where it will be, for the commands in its comments.

    Raises:
        InputError: There is no task or tier of a name, or none is given, or none of the tasks has ``m``.
        PluginError: A task or tier of another package cannot be used.
        GridError: A value of ``m`` is not accepted.
    """
    if not SWEEP_NAME.fullmatch(name):
        raise InputError(f"found the name {name!r}; accepted: {SWEEP_NAME_ACCEPTED}. Name the sweep with --name")
    entries = {"tasks": _entries("tasks", tasks), "models": _entries("models", tiers)}
    if m and not any(field.name == "m" for listed in entries["tasks"] for field in listed.fields):
        raise InputError(f"found --m {', '.join(map(str, m))}, but none of these tasks has m: {', '.join(tasks)}")
    given = {"m": _plain(list(m))} if m else {}
    kinds = {"tasks": "name", "models": "tier"}
    lines = [
        "# A list of values is an axis: every combination is a cell, trained at each learning rate with each seed.",
        f"# To see what would run, and how long it takes:  bilin sweep plan {path}",
        f"# All fields of a tier:  bilin models show {tiers[0]}",
        f"name: {name}",
        *(line for key, listed in entries.items() for line in ["", f"{key}:", *_blocks(listed, kinds[key], given)]),
        *_section("train", TrainSpec, ("steps", "lengths")),
        *_section("validate", ValidateSpec, ("every", "lengths")),
        *_section("test", TestSpec, ("lengths",)),
        *_section("learning_rate", Choices, ("choices",)),
        "  # or, instead of choices, a search between two bounds:",
        "  # log_uniform: [1e-5, 1e-2]",
        f"  # trials: 12 # {fields_of(LogUniform)['trials'].doc}",
        "",
        "# To stop learning rates early that fall behind (steps at the first rung: a multiple of validate.every):",
        "# pruner: {kind: median, first: 1000}",
        "",
        f"seeds: [0, 1, 2] # {fields_of(Seeds)['seeds'].doc}",
        "",
    ]
    text = "\n".join(lines)
    parse_grid(text, source=path)
    return text


def write_grid_template(
    path: Path, tasks: Sequence[str], tiers: Sequence[str], *, name: str | None = None, m: Sequence[int] = ()
) -> Grid:
    """Write the text of `grid_template` to a new file, and return the grid. By default, its name is that of the file.

    Raises:
        InputError: The file exists or cannot be written, or as `grid_template` does.
    """
    text = grid_template(tasks, tiers, name=path.stem if name is None else name, m=m, path=str(path))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError(f"{path} exists and was not changed; name another file: bilin sweep init FILE") from error
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    return parse_grid(text, source=str(path))


def _entries(kind: str, names: Sequence[str]) -> list[catalog.Listed]:
    registry = catalog.REGISTRIES[kind]
    if not names:
        raise InputError(f"name at least one {registry.what} with --{registry.what}: {', '.join(registry.names)}")
    found = [catalog.find(kind, name) for name in dict.fromkeys(names)]
    for listed in found:
        if listed.error:
            raise PluginError(f"{listed.name}: {listed.error}")
    return found


def _blocks(entries: Sequence[catalog.Listed], key: str, given: Mapping[str, str]) -> list[str]:
    """Return the entries of tasks or models, each below its summary."""
    lines = []
    for listed in entries:
        lines += [f"  # {listed.summary}", f"  - {key}: {listed.name}"]
        for field in listed.fields:
            if field.required or field.name in (*_SIZES, *given):
                text = given.get(field.name) or _value(field, listed.name)
                lines.append(f"    {field.name}: {text} # {field.doc}")
    return lines


def _section(key: str, settings: type, names: Sequence[str]) -> list[str]:
    fields = fields_of(settings)
    return [
        "",
        f"{key}:",
        *(f"  {name}: {_plain(_SIZES.get(name, fields[name].default))} # {fields[name].doc}" for name in names),
    ]


def _value(field: Field, owner: str) -> str:
    """Return what is written for a field: a small size, its default, examples, or the first value that it accepts."""
    if not field.required:
        return _plain(_SIZES.get(field.name, field.default))
    examples = _EXAMPLES.get(field.name, ())
    if examples and all(_accepts(field, value) for value in examples):
        return _plain(examples)
    for value in (*field.choices, field.at_least, field.at_most, 1, False):
        listed = (value,) * (field.length or 1) if field.is_list else value
        if _accepts(field, listed):
            return _plain(field.convert(listed))
    raise InputError(f"{owner} needs {field.name}, for which there is no example; accepted: {field.accepted}")


def _accepts(field: Field, value: object) -> bool:
    try:
        field.convert(value)
    except ValueError:
        return False
    return value is not None


def _plain(value: object) -> str:
    """Return a value as a grid writes it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_plain, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)
