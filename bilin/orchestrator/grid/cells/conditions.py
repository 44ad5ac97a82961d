"""Which cells ``exclude`` and ``--only`` mean: values that some of a cell's fields must have."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bilin.catalog import REGISTRIES
from bilin.errors import nearest
from bilin.fields import Field, Value, fields_of, values_of
from bilin.orchestrator.grid.blocks import read_list, unknown
from bilin.orchestrator.grid.faults import Faults
from bilin.orchestrator.grid.yaml import ListNode, MappingNode, Node, ScalarNode, describe
from bilin.registry import load, package_of
from bilin.spec import TrainSpec

_NAMES = {registry.what: registry for registry in REGISTRIES.values()}

Known = Mapping[str, tuple[Field, ...]]
"""Fields that a cell can have, of any task, tier or of ``train``, by name."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Accepted values of some fields, all of which must hold.

    Each block of a cell (task, model, train) knows a part of the fields, and is asked once for all
    cells that have it: the parts that hold are bits, and a cell is meant when its blocks hold all.
    """

    accepted: tuple[tuple[str, frozenset[Value]], ...]
    node: Node | None
    path: str

    @property
    def all_bits(self) -> int:
        """The bits of a cell that is meant."""
        return (1 << len(self.accepted)) - 1

    def bits(self, block: Any) -> int:
        """One bit for each part that holds for a block of settings."""
        values = attributes(block)
        return sum(
            1 << i for i, (name, accepted) in enumerate(self.accepted) if name in values and values[name] in accepted
        )


def attributes(block: Any) -> dict[str, Value]:
    """The fields of a block of settings, with the name of the task or tier."""
    named = {
        key: getattr(block, attribute)
        for key, attribute in (("task", "name"), ("tier", "tier"))
        if hasattr(block, attribute)
    }
    return {**named, **values_of(block)}


def known_fields(used: Iterable[type] = ()) -> Known:
    """The fields of bilin's own tasks and tiers, of ``train``, and of those settings that are another package's."""
    known = dict(_own_fields())
    for settings in dict.fromkeys(used):
        if package_of(settings) is not None:
            for field in fields_of(settings).values():
                known[field.name] = (*known.get(field.name, ()), field)
    return known


@functools.cache
def _own_fields() -> Known:
    own: dict[str, tuple[Field, ...]] = {}
    places = [place for registry in REGISTRIES.values() for place in registry.own.values()]
    for field in (field for block in [*map(load, places), TrainSpec] for field in fields_of(block).values()):
        own[field.name] = (*own.get(field.name, ()), field)
    return own


def read_exclude(node: Node | None, path: str, known: Known, faults: Faults) -> tuple[Condition, ...] | None:
    """The exclusions of a document, on fields that are known; None where one has a fault."""
    before = len(faults)
    conditions = []
    accepted = "a list of mappings, such as [{tier: cp, m: 2}]"
    for index, item in enumerate(read_list(node, path, faults, accepted)):
        place = f"{path}[{index}]"
        if isinstance(item, MappingNode) and item.entries:
            conditions.append(_read_condition(item, place, known, faults))
        else:
            faults.add(item, place, f"found {describe(item)}; accepted: fields with values, such as {{tier: cp, m: 2}}")
    return tuple(conditions) if len(faults) == before else None


def _read_condition(node: MappingNode, path: str, known: Known, faults: Faults) -> Condition:
    parts = []
    for name, value in node.entries.items():
        values = value.items if isinstance(value, ListNode) else (value,)
        if values:
            line = node.key_lines[name]
            parts.append((name, accepted_values(name, values, f"{path}.{name}", known, faults, line=line)))
        else:
            faults.add(value, f"{path}.{name}", "found an empty list; accepted: a value, or a list of values")
    return Condition(tuple(parts), node, path)


def accepted_values(
    name: str, nodes: tuple[Node, ...], path: str, known: Known, faults: Faults, *, line: int | None = None
) -> frozenset[Value]:
    """The values of one field of a condition, in the field's type.

    Args:
        name: The field, or ``task`` or ``tier``.
        nodes: Its values, at least one.
        path: Where they stand.
        known: The fields that there are.
        faults: Takes the faults.
        line: Where the name stands.
    """
    if name not in known and name not in _NAMES:
        names = [*_NAMES, *(field for field in known if not known[field][0].is_list)]
        faults.add(nodes[0], path, unknown("field", name, names), line=line)
        return frozenset()
    if name in known and known[name][0].is_list:
        faults.add(nodes[0], path, "is a list of its own, the same in all cells of a grid, and cannot be a condition")
        return frozenset()
    values: set[Value] = set()
    for node in nodes:
        values |= (
            _accepted_names(name, node, path, faults) if name in _NAMES else _converted(known[name], node, path, faults)
        )
    return frozenset(values)


def _accepted_names(kind: str, node: Node, path: str, faults: Faults) -> set[Value]:
    names = _NAMES[kind].names
    if isinstance(node, ScalarNode) and node.value in names:
        return {node.value}
    hint = nearest(str(node.value), names) if isinstance(node, ScalarNode) else ""
    faults.add(node, path, f"found {describe(node)}{hint}; accepted: {', '.join(names)}")
    return set()


def _converted(fields: tuple[Field, ...], node: Node, path: str, faults: Faults) -> set[Value]:
    values: set[Value] = set()
    for field in fields:
        try:
            values.add(field.convert(node.value if isinstance(node, ScalarNode) else ()))
        except ValueError:
            continue
    if not values:
        faults.add(node, path, f"found {describe(node)}; accepted: {fields[0].accepted}")
    return values
