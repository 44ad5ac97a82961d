"""Reading one block of settings: a mapping whose fields are declared with `bilin.fields.option`."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass
from typing import Any, TypeVar

from bilin.catalog import REGISTRIES, settings_of
from bilin.errors import PluginError, nearest
from bilin.fields import Amounts, Field, Value, fields_of, format_value, plain_value, values_of
from bilin.orchestrator.grid.node import YamlNode, shorten
from bilin.orchestrator.grid.ranges import SEARCHED_BLOCKS, Range, corners, is_range, read_range
from bilin.registry import blamed_on_its_package, load

T = TypeVar("T")

MAX_COMBINATIONS = 1_000_000

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_BOOLS_OF_YAML_1_1 = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


@dataclass(slots=True, eq=False)
class Block:
    """An entry of ``tasks`` or ``models``, or another block of a grid.

    Attributes:
        settings: The class that declares the fields.
        node: What is written. A block that is not written has the default of every field.
        choices: The values of each field that is written, in the order of the file; several on an axis. A searched
            field has its lowest value.
        ranges: The ranges of the searched fields.
        sizes: The number of values of each axis; the axes of a group of ``zip`` count as one. Filled by `vary`.
        variants: The settings for each combination of its axes, by one index of each. Filled by `vary`.
    """

    settings: type[Any]
    node: YamlNode
    choices: Mapping[str, tuple[Value, ...]] = dataclasses.field(default_factory=dict)
    ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    variants: dict[tuple[int, ...], Any] = dataclasses.field(default_factory=dict)

    def is_axis(self, name: str) -> bool:
        """Return whether a field is written as a list of values, if only of one."""
        return self.node.key(name).is_list and not fields_of(self.settings)[name].is_list

    def values(self, name: str) -> tuple[Value, ...]:
        """Return the values of a field: those that are written, or the default."""
        return self.choices.get(name) or (fields_of(self.settings)[name].default,)

    def select(self, indices: Mapping[str, int] | None = None) -> Any:
        """Return the settings with the values at these indices; None, and a fault, if they do not go together."""
        indices = indices or {}
        values = {name: values[indices.get(name, 0)] for name, values in self.choices.items()}
        first, *others = (self.settings(**corner) for corner in corners(values, self.ranges))
        for settings in (first, *others):
            found = settings.problems()
            for name, accepted in found.items():
                node = self.node.key(name)
                if name in indices:
                    node = node.items[indices[name]]
                node.fault(f"found {format_value(getattr(settings, name))}; accepted: {accepted}", once=True)
            if found:
                return None
        return first

    def vary(self, groups: Mapping[str, str]) -> None:
        """Fill in the variants, unless some values are not accepted together.

        Args:
            groups: The name of the group of each field that varies together with others.
        """
        faults = self.node.faults
        before = faults.num_added
        axes: dict[str, list[str]] = defaultdict(list)
        for name in filter(self.is_axis, self.choices):
            axes[groups.get(name, name)].append(name)
            if name not in groups:
                seen: set[Value] = set()
                for value, node in zip(self.choices[name], self.node.key(name).items, strict=True):
                    if value in seen:
                        node.fault(f"found {node} twice; accepted: each value once")
                    seen.add(value)
        sizes = {axis: len(self.choices[names[0]]) for axis, names in axes.items()}
        check_combinations(math.prod(sizes.values()), self.node)
        if faults.num_added > before:
            return
        self.sizes = sizes
        for indices in self.indices({}):
            with blamed_on_its_package(self.settings):
                settings = self.select({name: index for axis, index in indices.items() for name in axes[axis]})
            if settings is not None:
                self.variants[tuple(indices.values())] = settings

    def indices(self, fixed: Mapping[str, int]) -> Iterator[dict[str, int]]:
        """Yield an index of each axis for all combinations of the axes that are not fixed already."""
        free = [axis for axis in self.sizes if axis not in fixed]
        for combination in itertools.product(*(range(self.sizes[axis]) for axis in free)):
            yield {**fixed, **dict(zip(free, combination, strict=True))}

    def variant(self, indices: Mapping[str, int]) -> Any:
        """Return the settings with these indices, of which some may belong to axes of other blocks."""
        return self.variants[tuple([indices[axis] for axis in self.sizes])]

    def to_plain(self) -> dict[str, object]:
        """Return every field as plain values; those that are written come first, in their order."""
        plain: dict[str, object] = {
            name: [plain_value(value) for value in values] if self.is_axis(name) else plain_value(values[0])
            for name, values in self.choices.items()
        }
        plain |= {name: range_.to_plain() for name, range_ in self.ranges.items()}
        defaults = {name: plain_value(field.default) for name, field in fields_of(self.settings).items()}
        return plain | {name: default for name, default in defaults.items() if name not in plain}


def name_field(kind: str) -> Field:
    """Return the name of a ``task`` or ``tier`` as a field."""
    registry = REGISTRIES[kind]
    return Field(name=registry.what, type=str, default=MISSING, before=MISSING, choices=registry.names, doc="")


def attributes(settings: Any) -> dict[str, Value]:
    """Return the fields of a block of settings, with the name of the task or tier."""
    named = {
        registry.what: getattr(settings, registry.key)
        for registry in REGISTRIES.values()
        if isinstance(settings, registry.base)
    }
    return {**named, **values_of(settings)}


def check_combinations(count: int, node: YamlNode) -> bool:
    """Return whether a grid may have this number of combinations; add a fault if not."""
    if count > MAX_COMBINATIONS:
        found = f"{count:,}" if count < 10**12 else "more than 10^12"
        node.fault(f"found {found} combinations; accepted: at most {MAX_COMBINATIONS:,} in one grid")
    return count <= MAX_COMBINATIONS


def read_block(
    settings: type[Any],
    node: YamlNode,
    *,
    axes: bool = False,
    may_search: bool = False,
    name_key: str | None = None,
    remarks: Mapping[str, str] | None = None,
) -> Block | None:
    """Return a block; None if a value has a fault or is missing.

    Args:
        settings: The class that declares the fields.
        node: The block.
        axes: Whether a list is an axis, for a field that is no list itself.
        may_search: Whether a field may have a range instead of a value.
        name_key: The key that names the task or tier, which is no field.
        remarks: What to say of keys that belong to other blocks.
    """
    if not node.check_mapping():
        return None
    before, fields = node.faults.num_added, fields_of(settings)
    choices: dict[str, tuple[Value, ...]] = {}
    ranges: dict[str, Range] = {}
    for name, value in node.entries.items():
        if field := fields.get(name):
            if may_search and is_range(value):
                if range_ := read_range(field, value):
                    ranges[name], choices[name] = range_, (range_.convert(range_.low),)
                continue
            is_axis = axes and value.is_list and not field.is_list
            items = value.listed(f"{field.accepted}, or a list of such values") if is_axis else [value]
            choices[name] = tuple(read_value(field, item) for item in items)
    missing = [name for name, field in fields.items() if field.required and name not in choices]
    is_sound = node.faults.num_added == before and not missing
    names = [name_key, *fields] if name_key else list(fields)
    node.check_keys(names, remarks)
    for name in missing:
        if not node.is_misspelt(name, names):
            node.key(name).refuse(fields[name].accepted)
    return Block(settings, node, choices, ranges) if is_sound else None


def read_settings(settings: type[T], node: YamlNode, *, remarks: Mapping[str, str] | None = None) -> T | None:
    """Return a block without axes; None if a value has a fault, is missing, or does not go with the others."""
    block = read_block(settings, node, remarks=remarks)
    selected: T | None = block.select() if block else None
    return selected


def read_value(field: Field, node: YamlNode) -> Value:
    """Return one value of a field; None, and a fault, if it is not accepted."""
    if field.is_list and node.is_list and field.length in (None, len(node.items)):
        return tuple(read_value(field.item, item) for item in node.items)  # type: ignore[misc]
    if field.is_mapping and node.is_mapping:
        for name, item in node.entries.items():
            if not field.matches(name):
                item.fault(f'found the name "{shorten(name)}"; accepted: {field.accepted}')
        return Amounts(tuple((name, read_value(field.item, item)) for name, item in sorted(node.entries.items())))  # type: ignore[misc]
    try:
        return field.convert(node.to_plain())
    except ValueError:
        refuse_value(field, node)
        return None


def refuse_value(field: Field, node: YamlNode) -> None:
    """Add a fault of a value that a field does not accept, with a hint at what the user probably means."""
    value, hint = node.value, ""
    if isinstance(value, str) and (
        (field.type in (int, float) and _NUMBER.fullmatch(value)) or (field.type is bool and value in ("true", "false"))
    ):
        hint = " (remove the quotes)"
    elif field.name in ("task", "tier") and node.is_list:
        key = "name" if field.name == "task" else "tier"
        entries = ", ".join(f"{{{key}: {shorten(str(item.value))}}}" for item in node.items)
        hint = f" (write one entry for each: {entries})"
    elif is_range(node):
        hint = " (only fields of models and train, each outside of a list, can be searched)"
    elif field.type is int and isinstance(value, float) and value.is_integer() and abs(value) < 10**15:
        hint = f" (write {int(value)})"
    elif field.type is bool and isinstance(value, str) and value.lower() in _BOOLS_OF_YAML_1_1:
        hint = f" (write {_BOOLS_OF_YAML_1_1[value.lower()]})"
    elif field.choices and isinstance(value, str):
        hint = nearest(value, map(str, field.choices))
    node.refuse(field.accepted, hint)


def named_settings(kind: str, entries: list[YamlNode]) -> Iterator[type]:
    """Yield the settings that entries of ``tasks`` or ``models`` name, whatever else is wrong with them."""
    for entry in entries:
        with suppress(PluginError):
            if settings := _settings(kind, entry):
                yield settings


def _settings(kind: str, entry: YamlNode) -> type | None:
    """Return the settings of what an entry names; None if there is nothing of that name."""
    registry = REGISTRIES[kind]
    name = entry.key(registry.key).value
    return settings_of(kind, name) if isinstance(name, str) and name in registry.names else None


def read_entries(kind: str, node: YamlNode, *, may_be_missing: bool) -> list[Block | None]:
    """Return the entries of ``tasks`` or ``models``; None in place of each that has a fault."""
    registry = REGISTRIES[kind]
    accepted = f"a list of mappings, such as [{{{registry.key}: {next(iter(registry.names))}}}]"
    if not node.is_written and not may_be_missing:
        node.refuse(accepted)
    return [_read_entry(kind, item) for item in node.listed(accepted)]


def _read_entry(kind: str, node: YamlNode) -> Block | None:
    registry = REGISTRIES[kind]
    if not node.check_mapping():
        return None
    name = node.key(registry.key)
    try:
        settings = _settings(kind, node)
    except PluginError as error:
        name.fault(str(error))
        return None
    if settings is None:
        refuse_value(name_field(kind), name)
        return None
    return read_block(
        settings,
        node,
        axes=True,
        may_search=kind in SEARCHED_BLOCKS,
        name_key=registry.key,
        remarks=_owners(kind, settings),
    )


@functools.cache
def _owners(kind: str, settings: type) -> Mapping[str, str]:
    """Return a remark for each field that only other tasks or tiers of bilin's own have."""
    owners: dict[str, list[str]] = {}
    for name, place in REGISTRIES[kind].own.items():
        for field in fields_of(load(place)):
            owners.setdefault(field, []).append(name)
    own = fields_of(settings)
    return {field: f" (a field of {', '.join(names)})" for field, names in owners.items() if field not in own}
