"""A document as a grid states it, with every default written out; and what varies in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bilin.catalog import REGISTRIES
from bilin.fields import Value, fields_of, plain_value, values_of
from bilin.orchestrator.grid.blocks import Block, written_learning_rate
from bilin.orchestrator.grid.cells import Part, Space, Varied
from bilin.orchestrator.grid.grid import Axis
from bilin.orchestrator.grid.yaml import plain


def written_document(part: Part) -> dict[str, object]:
    """The document as plain values. Fields that are written keep their order, which is that of the cells."""
    space, runs = part.space, part.runs
    return {
        "tasks": [{"name": block.settings.name, **_written_block(block)} for block in _blocks(space.tasks)],
        "models": [{"tier": block.settings.tier, **_written_block(block)} for block in _blocks(space.models)],
        "train": _written_block(space.train.block),
        "validate": _written_settings(part.validate),
        "test": _written_settings(runs.test),
        "learning_rate": written_learning_rate(runs.learning_rate),
        "seeds": list(runs.seeds),
        "resources": _written_settings(runs.resources),
        "zip": [list(group.names) for group in space.groups],
        "exclude": [plain(condition.node) for condition in space.exclude if condition.node],
    }


def axes_of(space: Space) -> tuple[Axis, ...]:
    """What varies in a document: the fields that have several values over all of its entries."""
    varied: dict[str, dict[Value, None]] = {}
    for name, key, blocks in (
        ("task", "tasks", space.tasks),
        ("tier", "models", space.models),
        ("", "", (space.train,)),
    ):
        for block in _blocks(blocks):
            if name:
                varied.setdefault(name, {})[getattr(block.settings, REGISTRIES[key].key)] = None
            for field in fields_of(block.settings).values():
                values = _values(block, field.name, field.default)
                varied.setdefault(field.name, {}).update(dict.fromkeys(values))
    return tuple(Axis(name, tuple(values)) for name, values in varied.items() if len(values) > 1)


def _blocks(varied: Sequence[Varied]) -> list[Block]:
    return [each.block for each in varied]


def _values(block: Block, name: str, default: Value) -> tuple[Value, ...]:
    return block.choices[name].values if name in block.choices else (default,)


def _written_block(block: Block) -> dict[str, object]:
    written: dict[str, object] = {}
    for name, choice in block.choices.items():
        written[name] = list(choice.values) if choice.is_axis else plain_value(choice.values[0])
    for name, field in fields_of(block.settings).items():
        written.setdefault(name, plain_value(field.default))
    return written


def _written_settings(settings: Any) -> dict[str, object]:
    return {name: plain_value(value) for name, value in values_of(settings).items()}
