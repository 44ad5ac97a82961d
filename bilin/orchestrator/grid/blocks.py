"""Reading one block of settings: a mapping whose fields are declared with `bilin.fields.option`."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as slot
from typing import Any, TypeVar

from bilin.catalog import REGISTRIES, settings_of
from bilin.errors import PluginError, nearest
from bilin.fields import Amounts, Field, Value, fields_of, format_value, plain_value
from bilin.orchestrator.grid.place import Place
from bilin.orchestrator.grid.yaml import YamlNode, shorten
from bilin.registry import Registry, load

T = TypeVar("T")

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_BOOLS_OF_YAML_1_1 = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


@dataclass(frozen=True, slots=True)
class Variant:
    """One settings object of a block.

    Attributes:
        indices: Which value it has of each axis; the axes of a group of ``zip`` count as one.
        attributes: The values that exclusions can name.
    """

    settings: Any
    indices: Mapping[str, int]
    attributes: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """An entry of ``tasks`` or ``models``, or another block of a grid.

    Attributes:
        settings: The class that declares the fields.
        place: Where it is written. A block that is not written has the default of every field.
        choices: The values of each field that is written, in the order of the file; several on an axis.
        sizes: The number of values of each axis; the axes of a group of ``zip`` count as one.
        variants: One for each combination of its axes. They and the sizes are there once the block is varied.
    """

    settings: type[Any]
    place: Place
    choices: Mapping[str, tuple[Value, ...]]
    sizes: Mapping[str, int] = slot(default_factory=dict)
    variants: tuple[Variant, ...] = ()

    def is_axis(self, name: str) -> bool:
        """Return whether a field is written as a list of values, if only of one."""
        node = self.place.entries.get(name)
        return node is not None and node.is_list and not fields_of(self.settings)[name].is_list

    def values(self, name: str) -> tuple[Value, ...]:
        """Return the values of a field: those that are written, or the default."""
        return self.choices.get(name) or (fields_of(self.settings)[name].default,)

    def select(self, indices: Mapping[str, int] | None = None) -> Any:
        """Return the settings with the values at these indices; None, and a fault, if they do not go together."""
        indices = indices or {}
        settings = self.settings(**{name: values[indices.get(name, 0)] for name, values in self.choices.items()})
        found = settings.problems()
        for name, accepted in found.items():
            place = self.place.key(name)
            if name in indices:
                place = place.items()[indices[name]]
            place.fault(f"found {format_value(getattr(settings, name))}; accepted: {accepted}", once=True)
        return None if found else settings

    def to_plain(self) -> dict[str, object]:
        """Return every field as plain values; those that are written come first, in their order."""
        chosen = {
            name: [plain_value(value) for value in values] if self.is_axis(name) else plain_value(values[0])
            for name, values in self.choices.items()
        }
        defaults = {name: plain_value(field.default) for name, field in fields_of(self.settings).items()}
        return {**chosen, **{name: value for name, value in defaults.items() if name not in chosen}}


def read_block(
    settings: type[Any],
    place: Place,
    *,
    axes: bool = False,
    name_key: str | None = None,
    remarks: Mapping[str, str] | None = None,
) -> Block | None:
    """Return the block that is written at a place; None if a value has a fault or is missing.

    Args:
        settings: The class that declares the fields.
        place: Where the block is.
        axes: Whether a list is an axis, for a field that is no list itself.
        name_key: The key that names the task or tier, which is no field.
        remarks: What to say of keys that belong to other blocks.
    """
    if not place.is_mapping():
        return None
    before, fields = len(place.faults), fields_of(settings)
    choices: dict[str, tuple[Value, ...]] = {}
    for name, node in place.entries.items():
        if field := fields.get(name):
            written, is_axis = place.key(name), axes and node.is_list and not field.is_list
            items = written.listed(f"{field.accepted}, or a list of such values") if is_axis else [written]
            choices[name] = tuple(read_value(field, item) for item in items)
    missing = [name for name, field in fields.items() if field.required and name not in choices]
    is_sound = len(place.faults) == before and not missing
    names = [name_key, *fields] if name_key else list(fields)
    place.check_keys(names, remarks)
    for name in missing:
        if not place.is_misspelt(name, names):
            place.key(name).refuse(fields[name].accepted)
    return Block(settings=settings, place=place, choices=choices) if is_sound else None


def read_settings(settings: type[T], place: Place, *, remarks: Mapping[str, str] | None = None) -> T | None:
    """Return a block without axes; None if a value has a fault, is missing, or does not go with the others."""
    block = read_block(settings, place, remarks=remarks)
    selected: T | None = block.select() if block else None
    return selected


def read_value(field: Field, place: Place) -> Value:
    """Return one value of a field; None, and a fault, if it is not accepted."""
    node = place.node
    if node is None:
        return None
    if field.is_list and node.is_list and field.length in (None, len(node.items)):
        return tuple(read_value(field.item, item) for item in place.items())  # type: ignore[misc]
    if field.is_mapping and node.is_mapping:
        for name in node.entries:
            if not field.matches(name):
                place.key(name).fault(f'found the name "{shorten(name)}"; accepted: {field.accepted}')
        return Amounts(tuple((name, read_value(field.item, place.key(name))) for name in sorted(node.entries)))  # type: ignore[misc]
    try:
        return field.convert(node.to_plain())
    except ValueError:
        place.refuse(field.accepted, _correction(field, node))
        return None


def _correction(field: Field, node: YamlNode) -> str:
    """Return a hint at what the user probably means, for a value that only looks like one of the right type."""
    value = node.value
    if field.type in (int, float) and isinstance(value, str) and _NUMBER.fullmatch(value):
        return " (remove the quotes)"
    if field.type is bool and value in ("true", "false"):
        return " (remove the quotes)"
    if field.type is int and isinstance(value, float) and value.is_integer() and abs(value) < 10**15:
        return f" (write {int(value)})"
    if field.type is bool and isinstance(value, str) and value.lower() in _BOOLS_OF_YAML_1_1:
        return f" (write {_BOOLS_OF_YAML_1_1[value.lower()]})"
    return nearest(value, map(str, field.choices)) if isinstance(value, str) and field.choices else ""


def named_settings(kind: str, nodes: Sequence[YamlNode]) -> list[type]:
    """Return the settings that entries name, whatever else is wrong with them."""
    named = []
    for node in nodes:
        with contextlib.suppress(PluginError):
            if settings := _settings(kind, node):
                named.append(settings)
    return named


def _settings(kind: str, entry: YamlNode) -> type | None:
    """Return the settings of what an entry names; None if there is nothing of that name."""
    registry = REGISTRIES[kind]
    node = entry.entries.get(registry.key)
    if node and isinstance(node.value, str) and node.value in registry.names:
        return settings_of(kind, node.value)
    return None


def read_entries(kind: str, place: Place, *, may_be_missing: bool) -> list[Block | None]:
    """Return the entries of ``tasks`` or ``models``; None in place of each that has a fault."""
    registry = REGISTRIES[kind]
    accepted = f"a list of mappings, such as [{{{registry.key}: {next(iter(registry.names))}}}]"
    if place.node is None and not may_be_missing:
        place.refuse(accepted)
    return [_read_entry(kind, item) for item in place.listed(accepted)]


def _read_entry(kind: str, place: Place) -> Block | None:
    registry = REGISTRIES[kind]
    if not place.node or not place.is_mapping():
        return None
    name = place.key(registry.key)
    try:
        settings = _settings(kind, place.node)
    except PluginError as error:
        name.fault(str(error))
        return None
    if settings is None:
        name.refuse(f"one of {', '.join(registry.names)}", _name_hint(registry, name.node))
        return None
    return read_block(settings, place, axes=True, name_key=registry.key, remarks=_owners(kind, settings))


def _name_hint(registry: Registry[Any], node: YamlNode | None) -> str:
    """Return a hint at what the user probably means by what is not the name of a task or tier."""
    if node and node.is_list and node.items:
        entries = ", ".join(f"{{{registry.key}: {shorten(item.text)}}}" for item in node.items)
        return f" (write one entry for each: {entries})"
    return nearest(node.value, registry.names) if node and isinstance(node.value, str) else ""


@functools.cache
def _owners(kind: str, settings: type) -> Mapping[str, str]:
    """Return a remark for each field that only other tasks or tiers of bilin's own have."""
    owners: dict[str, list[str]] = {}
    for name, place in REGISTRIES[kind].own.items():
        for field in fields_of(load(place)):
            owners.setdefault(field, []).append(name)
    own = fields_of(settings)
    return {field: f" (a field of {', '.join(names)})" for field, names in owners.items() if field not in own}
