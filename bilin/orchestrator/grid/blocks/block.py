"""Reads one block of settings: a mapping whose fields are declared with `bilin.fields.option`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bilin.errors import nearest
from bilin.fields import Field, Value, fields_of
from bilin.orchestrator.grid.faults import Faults, is_misspelt, shorten
from bilin.orchestrator.grid.yaml import ListNode, MappingNode, Node, ScalarNode, describe, plain


@dataclass(frozen=True, slots=True)
class Choice:
    """What a grid says about one field: one value, or, on an axis, several; each with its node."""

    values: tuple[Value, ...]
    nodes: tuple[Node, ...]
    is_axis: bool


@dataclass(frozen=True, slots=True)
class Block:
    """One entry of ``tasks`` or ``models``, or another block of a grid.

    Attributes:
        settings: The class that declares the fields.
        node: None where the grid does not have the block, so that every field has its default.
        path: Where it stands, such as ``models[1]``.
        choices: The fields that are written, in their order in the file.
    """

    settings: type[Any]
    node: MappingNode | None
    path: str
    choices: Mapping[str, Choice]


def read_block(
    settings: type[Any],
    node: MappingNode | None,
    path: str,
    faults: Faults,
    *,
    axes: bool = False,
    also: Collection[str] = (),
    elsewhere: Mapping[str, str] | None = None,
) -> Block | None:
    """A block with its values converted; None where one of them has a fault or is missing.

    Args:
        settings: The class that declares the fields.
        node: The mapping; None for one that is not there.
        path: Where it stands.
        faults: Takes what is wrong with it.
        axes: Whether a list is an axis, where the field itself is no list.
        also: Keys of the mapping that are read elsewhere, such as ``tier``.
        elsewhere: What to say of names that other blocks have.
    """
    fields = fields_of(settings)
    written = node.entries if node else {}
    choices = {
        key: _read_field(fields[key], value, f"{path}.{key}", faults, axes=axes)
        for key, value in written.items()
        if key in fields
    }
    names = [*also, *fields]
    for key in (key for key in written if key not in names):
        message = unknown("key", key, names, (elsewhere or {}).get(key, ""))
        faults.add(written[key], f"{path}.{key}", message, line=node.key_lines[key] if node else None)
    missing = [name for name, field in fields.items() if field.required and name not in written]
    for name in missing:
        if not is_misspelt(name, written, names):
            faults.add(node, f"{path}.{name}", f"missing; accepted: {fields[name].accepted}")
    sound = {name: choice for name, choice in choices.items() if choice}
    return None if missing or len(sound) < len(choices) else Block(settings, node, path, sound)


def read_mapping(node: Node | None, path: str, faults: Faults) -> MappingNode | None:
    """The node, if it is a mapping; otherwise a fault, and None."""
    if node is None or isinstance(node, MappingNode):
        return node
    faults.add(node, path, f"found {describe(node)}; accepted: a mapping, such as {{key: value}}")
    return None


def read_list(node: Node | None, path: str, faults: Faults, accepted: str) -> tuple[Node, ...]:
    """The items of the node, if it is a list; otherwise a fault, and nothing."""
    if node is None:
        return ()
    if isinstance(node, ListNode):
        return node.items
    faults.add(node, path, f"found {describe(node)}; accepted: {accepted}")
    return ()


def only_settings(block: Block) -> Any:
    """The settings object of a block without axes."""
    return block.settings(**{name: choice.values[0] for name, choice in block.choices.items()})


def unknown(what: str, name: str, names: Collection[str], elsewhere: str = "") -> str:
    """The message for a name that is not known, with those that are."""
    hint = elsewhere or nearest(name, names)
    return f'unknown {what} "{shorten(name)}"{hint}; accepted: {", ".join(names)}'


def read_choice(field: Field, node: Node, path: str, faults: Faults) -> Choice | None:
    """One value of a field; None where it has a fault."""
    if field.is_list and isinstance(node, ListNode):
        return _read_list_field(field, node, path, faults)
    if field.is_mapping and isinstance(node, MappingNode):
        return _read_mapping_field(field, node, path, faults)
    try:
        return Choice((field.convert(plain(node)),), (node,), is_axis=False)
    except ValueError:
        faults.add(node, path, f"found {describe(node)}{_correction(field, node)}; accepted: {field.accepted}")
        return None


def _read_field(field: Field, node: Node, path: str, faults: Faults, *, axes: bool) -> Choice | None:
    if axes and not field.is_list and isinstance(node, ListNode):
        return _read_axis(field, node, path, faults)
    return read_choice(field, node, path, faults)


def _read_list_field(field: Field, node: ListNode, path: str, faults: Faults) -> Choice | None:
    item = dataclasses.replace(field, is_list=False, length=None, optional=False)
    if field.length not in (None, len(node.items)):
        faults.add(node, path, f"found {describe(node)}; accepted: {field.accepted}")
        return None
    items = [read_choice(item, node.items[i], f"{path}[{i}]", faults) for i in range(len(node.items))]
    if not all(items):
        return None
    return Choice((tuple(choice.values[0] for choice in items if choice),), (node,), is_axis=False)  # type: ignore[misc]


def _read_mapping_field(field: Field, node: MappingNode, path: str, faults: Faults) -> Choice | None:
    for name in (name for name in node.entries if not field.is_name(name)):
        faults.add(
            node.entries[name], f"{path}.{name}", f'found the name "{shorten(name)}"; accepted: {field.accepted}'
        )
    amounts = {name: read_choice(field.amount, item, f"{path}.{name}", faults) for name, item in node.entries.items()}
    if not all(amounts.values()) or not all(map(field.is_name, amounts)):
        return None
    value = field.convert({name: choice.values[0] for name, choice in amounts.items() if choice})
    return Choice((value,), (node,), is_axis=False)


def _read_axis(field: Field, node: ListNode, path: str, faults: Faults) -> Choice | None:
    if not node.items:
        faults.add(node, path, f"found an empty list; accepted: {field.accepted}, or a list of such values")
        return None
    items = [read_choice(field, node.items[i], f"{path}[{i}]", faults) for i in range(len(node.items))]
    if not all(items):
        return None
    return Choice(tuple(choice.values[0] for choice in items if choice), node.items, is_axis=True)


def _correction(field: Field, node: Node) -> str:
    """What the user probably means, for a value that only looks like one of the right type."""
    if not isinstance(node, ScalarNode):
        return ""
    value = node.value
    if field.type is int and isinstance(value, float) and value.is_integer() and abs(value) < 10**15:
        return f" (write {int(value)})"
    if field.type is bool and isinstance(value, str) and value.lower() in _BOOLS_ELSEWHERE:
        return f" (write {str(_BOOLS_ELSEWHERE[value.lower()]).lower()})"
    if isinstance(value, str) and field.limits.choices:
        return nearest(value, [str(choice) for choice in field.limits.choices])
    return ""


_BOOLS_ELSEWHERE = {"yes": True, "on": True, "y": True, "no": False, "off": False, "n": False}
