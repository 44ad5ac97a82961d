"""Python's own values as the nodes of a grid: a dict instead of a YAML text. Faults name a value by its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bilin.errors import printable
from bilin.orchestrator.grid.node import (
    LARGEST,
    MAX_DEPTH,
    MAX_DIGITS,
    TOO_DEEP,
    WHOLE_NUMBERS,
    Faults,
    YamlNode,
    shorten,
)


def from_plain(value: object) -> YamlNode:
    """Return a node without lines; its faults are those of the values that cannot be in a grid.

    Any mapping counts as a dict and any sequence, such as a range, as a list. Arrays and numbers of NumPy and torch
    are converted.
    """
    return _node(value, "", 0, Faults())


def _node(value: object, path: str, depth: int, faults: Faults) -> YamlNode:
    """Return the node of a value at a path. Nearly every field accepts what replaces a fault: one is enough."""
    value = _of_python(value)
    node = YamlNode(None, path, faults)
    if isinstance(value, Mapping | list | tuple) and depth == MAX_DEPTH:
        message = TOO_DEEP
    elif isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                node.fault(f"found {shorten(repr(key))} as a key; accepted: a name")
        names = {str(key): item for key, item in value.items() if isinstance(key, str)}
        node.value = {name: _node(item, node.child_path(name), depth + 1, faults) for name, item in names.items()}
        node.key_lines = dict.fromkeys(names)
        return node
    elif isinstance(value, list | tuple):
        node.value = [_node(item, node.child_path(index), depth + 1, faults) for index, item in enumerate(value)]
        return node
    elif isinstance(value, int) and abs(value) > LARGEST:
        found = str(value) if abs(value) < 10**MAX_DIGITS else f"a number of more than {MAX_DIGITS} digits"
        message = f"found {found}; accepted: {WHOLE_NUMBERS}"
    elif isinstance(value, str) and printable(value) != value:
        message = f'found "{shorten(printable(value))}"; accepted: text in UTF-8'
    elif value is None or isinstance(value, bool | int | float | str):
        node.value, node.text = value, str(value)
        return node
    else:
        accepted = "a number, a text, True, False, None, a list or a dict"
        message = f"found a value of type {type(value).__name__}; accepted: {accepted}"
    node.fault(message)
    node.value, node.text = 1, "1"
    return node


def _of_python(value: Any) -> object:
    """Return a number, a text or a sequence of any library in Python's own type; any other value as it is."""
    if type(value) in (dict, list, tuple, bool, int, float, str):
        return value
    if callable(convert := getattr(value, "tolist", None)):  # an array or a number of NumPy, torch or pandas
        return convert()
    if isinstance(value, str):  # a member of an enumeration, for example
        return str.__str__(value)
    if isinstance(value, int | float):
        return int.__int__(value) if isinstance(value, int) else float.__float__(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    return value
