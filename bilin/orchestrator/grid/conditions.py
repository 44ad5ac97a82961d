"""Conditions on cells, for ``exclude`` and ``--only``: the values that some fields must have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from bilin.catalog import REGISTRIES
from bilin.fields import Field, Value, fields_of, format_value
from bilin.orchestrator.grid.blocks import attributes, name_field, refuse_value
from bilin.orchestrator.grid.grid import WantedCell
from bilin.orchestrator.grid.node import Faults, YamlNode, shorten, unknown_name
from bilin.orchestrator.grid.yaml import parse_yaml
from bilin.registry import load, package_of
from bilin.spec import TrainSpec

KnownFields = Mapping[str, tuple[Field, ...]]
"""The fields that a cell can have, of any task, tier or of ``train``, by name."""

Condition = Mapping[str, frozenset[Value]]
"""Accepted values of some fields, all of which must hold."""


def holds(condition: Condition, *attributes: Mapping[str, Value]) -> bool:
    """Return whether a cell meets a condition, from the attributes of its task, model and training."""
    for name, accepted in condition.items():
        for values in attributes:
            if name in values:
                if values[name] not in accepted:
                    return False
                break
        else:
            return False
    return True


def known_fields(used: Iterable[type] = ()) -> KnownFields:
    """Return the fields of bilin's own tasks and tiers, of ``train``, and of those settings that are not bilin's."""
    own = [load(place) for registry in REGISTRIES.values() for place in registry.own.values()]
    others = [settings for settings in dict.fromkeys(used) if package_of(settings) is not None]
    known: dict[str, tuple[Field, ...]] = {}
    for name, field in (item for settings in [*own, TrainSpec, *others] for item in fields_of(settings).items()):
        known[name] = (*known.get(name, ()), field)
    return known


def read_exclude(node: YamlNode, known: KnownFields) -> list[tuple[YamlNode, Condition]]:
    """Return the exclusions of a document, on fields that are known, each with the place where it is written."""
    conditions: list[tuple[YamlNode, Condition]] = []
    for item in node.listed("a list of mappings, such as [{tier: cp, m: 2}]", may_be_empty=True):
        if not item.entries:
            item.refuse("fields with values, such as {tier: cp, m: 2}")
        condition = {name: _accepted(name, value, known, item.key_lines[name]) for name, value in item.entries.items()}
        conditions.append((item, condition))
    return conditions


def _accepted(name: str, node: YamlNode, known: KnownFields, line: int | None = None) -> frozenset[Value]:
    """Return the values of a field in a condition, in the type of the field.

    The node is one value or a list of values; ``line`` is that of the name.
    """
    known = {**{registry.what: (name_field(kind),) for kind, registry in REGISTRIES.items()}, **known}
    if name not in known:
        names = [name for name, fields in known.items() if not fields[0].is_list]
        node.fault(unknown_name("field", name, names), line=line)
        return frozenset()
    if known[name][0].is_list:
        node.fault("is a list in itself, the same in all cells of a document, and cannot be a condition")
        return frozenset()
    accepted: set[Value] = set()
    for item in node.listed("a value, or a list of values") if node.is_list else [node]:
        converted = []
        for field in known[name]:
            with suppress(ValueError):
                converted.append(field.convert(item.to_plain()))
        accepted.update(converted)
        if not converted:
            refuse_value(known[name][0], item)
    return frozenset(accepted)


def narrow(cells: tuple[WantedCell, ...], only: Sequence[str], faults: Faults) -> tuple[WantedCell, ...]:
    """Return the cells that have one of the values of each field that ``only`` names, as in ``tier=full,m=2``.

    For a field that is named several times, any of the values is accepted.
    """
    if not only:
        return cells
    blocks = {id(block): block for wanted in cells for block in _blocks(wanted)}
    searched = {id(block): wanted.cell.searched for wanted in cells for block in _blocks(wanted)}
    attributes_of = {
        key: {name: value for name, value in attributes(block).items() if name not in searched[key]}
        for key, block in blocks.items()
    }
    there: dict[str, dict[Value, None]] = {}
    for name, value in (item for values in attributes_of.values() for item in values.items()):
        if not isinstance(value, tuple):
            there.setdefault(name, {})[value] = None
    known = known_fields(map(type, blocks.values()))
    condition: dict[str, frozenset[Value]] = {}
    for part in ",".join(only).split(","):
        path = f"--only {shorten(part.strip())}"
        name, equals, text = (piece.strip() for piece in part.partition("="))
        node, text_faults = parse_yaml(text, with_lines=False)
        if not equals or node is None or text_faults:
            faults.add(
                f"accepted: field=value, such as tier=full or tier=full,m=2{_bare_name(part.strip(), there)}", path=path
            )
        elif name not in there:
            is_known = name in known and not known[name][0].is_list
            remark = " (a field of bilin that no cell of the grid has)" if is_known else ""
            faults.add(unknown_name("field", name, list(there), remark), path=path)
        else:
            values = _accepted(name, node.copy(path, faults), known)
            if values and not values & there[name].keys():
                listed = ", ".join(map(format_value, there[name]))
                remark = f", though bilin has this {name}" if name in ("task", "tier") else ""
                faults.add(f"no cell of the grid has this value{remark}; values of {name}: {listed}", path=path)
            condition[name] = condition.get(name, frozenset()) | values
    if faults:
        return ()
    kept = tuple(cell for cell in cells if holds(condition, *(attributes_of[id(block)] for block in _blocks(cell))))
    if not kept:
        message = "no cell has all of these values together, though some cells have each of them"
        faults.add(message, path=f"--only {shorten(','.join(only))}")
    return kept


def _blocks(wanted: WantedCell) -> tuple[Any, Any, Any]:
    return wanted.cell.task, wanted.cell.model, wanted.cell.train


def _bare_name(text: str, there: Mapping[str, Mapping[Value, None]]) -> str:
    """Return a hint for the name of a task or tier without its field."""
    for registry in REGISTRIES.values():
        if text in registry.names:
            lacks = "" if text in there[registry.what] else f", but the grid has no such {registry.what}"
            return f" (write {registry.what}={text}{lacks})"
    return ""
