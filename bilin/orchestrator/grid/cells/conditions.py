"""Which cells ``exclude`` and ``--only`` mean: values that some of a cell's fields must have."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bilin.fields import Field, Value, fields_of, values_of
from bilin.models import MODELS, tier_settings
from bilin.orchestrator.grid.blocks import read_list, unknown
from bilin.orchestrator.grid.faults import Faults, nearest
from bilin.orchestrator.grid.yaml import ListNode, MappingNode, Node, ScalarNode, describe
from bilin.spec import TrainSpec
from bilin.tasks import TASKS, task_settings

_NAMES = {"task": TASKS, "tier": MODELS}


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


@functools.cache
def known_fields() -> Mapping[str, tuple[Field, ...]]:
    """Every field that a cell can have, of any task, tier or of ``train``, by name."""
    known: dict[str, tuple[Field, ...]] = {}
    blocks = [*map(task_settings, TASKS), *map(tier_settings, MODELS), TrainSpec]
    for field in (field for block in blocks for field in fields_of(block).values()):
        known[field.name] = (*known.get(field.name, ()), field)
    return known


def read_exclude(node: Node | None, path: str, faults: Faults) -> tuple[Condition, ...] | None:
    """The exclusions of a document; None where one has a fault."""
    before = len(faults)
    conditions = []
    accepted = "a list of mappings, such as [{tier: cp, m: 2}]"
    for index, item in enumerate(read_list(node, path, faults, accepted)):
        place = f"{path}[{index}]"
        if isinstance(item, MappingNode) and item.entries:
            conditions.append(_read_condition(item, place, faults))
        else:
            faults.add(item, place, f"found {describe(item)}; accepted: fields with values, such as {{tier: cp, m: 2}}")
    return tuple(conditions) if len(faults) == before else None


def _read_condition(node: MappingNode, path: str, faults: Faults) -> Condition:
    parts = []
    for name, value in node.entries.items():
        values = value.items if isinstance(value, ListNode) else (value,)
        if values:
            parts.append((name, accepted_values(name, values, f"{path}.{name}", faults, line=node.key_lines[name])))
        else:
            faults.add(value, f"{path}.{name}", "found an empty list; accepted: a value, or a list of values")
    return Condition(tuple(parts), node, path)


def accepted_values(
    name: str, nodes: tuple[Node, ...], path: str, faults: Faults, *, line: int | None = None
) -> frozenset[Value]:
    """The values of one field of a condition, in the field's type.

    Args:
        name: The field, or ``task`` or ``tier``.
        nodes: Its values, at least one.
        path: Where they stand.
        faults: Takes the faults.
        line: Where the name stands.
    """
    known = known_fields()
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
    if isinstance(node, ScalarNode) and node.value in _NAMES[kind]:
        return {node.value}
    hint = nearest(str(node.value), _NAMES[kind]) if isinstance(node, ScalarNode) else ""
    faults.add(node, path, f"found {describe(node)}{hint}; accepted: {', '.join(_NAMES[kind])}")
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
