"""Python's own values as the nodes of a grid: a dict instead of a YAML text. Faults name a value by its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bilin.errors import Fault, printable
from bilin.orchestrator.grid.yaml import LARGEST, MAX_DEPTH, YamlNode, shorten

_MOST_DIGITS = 30


def from_plain(value: object) -> tuple[YamlNode, list[Fault]]:
    """Return a node without lines, and the faults of the values that cannot be in a grid.

    Any mapping counts as a dict and any sequence, such as a range, as a list. Arrays and numbers of NumPy and torch
    are converted.
    """
    faults: list[Fault] = []
    return _node(value, "", 0, faults), faults


def _node(value: object, path: str, depth: int, faults: list[Fault]) -> YamlNode:
    """Return the node of a value at a path. Nearly every field accepts what replaces a fault: one is enough."""
    value = _of_python(value)
    if isinstance(value, Mapping | list | tuple) and depth == MAX_DEPTH:
        message = f"nested more than {MAX_DEPTH} levels deep; a grid needs no more than 6"
    elif isinstance(value, Mapping):
        faults += [
            Fault(line=None, path=path, message=f"found {shorten(repr(key))} as a key; accepted: a name")
            for key in value
            if not isinstance(key, str)
        ]
        entries = {
            str(key): _node(item, f"{path}.{key}" if path else str(key), depth + 1, faults)
            for key, item in value.items()
            if isinstance(key, str)
        }
        return YamlNode(None, entries, key_lines=dict.fromkeys(entries))
    elif isinstance(value, list | tuple):
        items = (_node(item, f"{path}[{index}]", depth + 1, faults) for index, item in enumerate(value))
        return YamlNode(None, tuple(items))
    elif isinstance(value, int) and abs(value) > LARGEST:
        found = str(value) if abs(value) < 10**_MOST_DIGITS else f"a number of more than {_MOST_DIGITS} digits"
        message = f"found {found}; accepted: whole numbers from -{LARGEST} to {LARGEST}"
    elif isinstance(value, str) and printable(value) != value:
        message = f'found "{shorten(printable(value))}"; accepted: text in UTF-8'
    elif value is None or isinstance(value, bool | int | float | str):
        return YamlNode(None, value, str(value))
    else:
        accepted = "a number, a text, True, False, None, a list or a dict"
        message = f"found a value of type {type(value).__name__}; accepted: {accepted}"
    faults.append(Fault(line=None, path=path, message=message))
    return YamlNode(None, 1, "1")


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
