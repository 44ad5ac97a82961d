"""Narrows a grid to the cells that ``--only`` means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bilin.fields import Value
from bilin.orchestrator.grid.blocks import unknown, written
from bilin.orchestrator.grid.cells import Condition, Known, accepted_values, attributes, known_fields
from bilin.orchestrator.grid.faults import Faults, shorten
from bilin.orchestrator.grid.grid import WantedCell
from bilin.orchestrator.grid.yaml import Node, UnreadableError, compose


def narrow(cells: tuple[WantedCell, ...], only: Sequence[str], faults: Faults) -> tuple[WantedCell, ...]:
    """The cells that have one of the values of each field that ``only`` names.

    Args:
        cells: All of the grid's.
        only: Texts such as ``tier=full,m=2``; for a field that is named several times, any of the values.
        faults: Takes what is wrong with them.
    """
    if not only:
        return cells
    blocks = {id(block): block for wanted in cells for block in _blocks(wanted)}
    there = _values_there(list(blocks.values()))
    condition = _read(only, there, known_fields(map(type, blocks.values())), faults)
    if condition is None:
        return ()
    bits = {key: condition.bits(block) for key, block in blocks.items()}
    kept = tuple(wanted for wanted in cells if _bits(wanted, bits) == condition.all_bits)
    if not kept:
        faults.add(None, f"--only {shorten(','.join(only))}", "no cell has all of these; each of them some cells have")
    return kept


def _blocks(wanted: WantedCell) -> tuple[Any, Any, Any]:
    return wanted.cell.task, wanted.cell.model, wanted.cell.train


def _bits(wanted: WantedCell, bits: dict[int, int]) -> int:
    task, model, train = _blocks(wanted)
    return bits[id(task)] | bits[id(model)] | bits[id(train)]


def _values_there(blocks: list[Any]) -> dict[str, dict[Value, None]]:
    there: dict[str, dict[Value, None]] = {}
    for name, value in (item for block in blocks for item in attributes(block).items()):
        if not isinstance(value, tuple):
            there.setdefault(name, {})[value] = None
    return there


def _read(only: Sequence[str], there: dict[str, dict[Value, None]], known: Known, faults: Faults) -> Condition | None:
    before = len(faults)
    wanted: dict[str, frozenset[Value]] = {}
    for part in ",".join(only).split(","):
        name, values = _read_part(part.strip(), there, known, faults)
        wanted[name] = wanted.get(name, frozenset()) | values
    return Condition(tuple(wanted.items()), None, "--only") if len(faults) == before else None


def _read_part(
    part: str, there: dict[str, dict[Value, None]], known: Known, faults: Faults
) -> tuple[str, frozenset[Value]]:
    path = f"--only {shorten(part)}"
    name, equals, value = (piece.strip() for piece in part.partition("="))
    node = _value(value) if equals else None
    values: frozenset[Value] = frozenset()
    if node is None:
        faults.add(None, path, "accepted: field=value, such as tier=full or tier=full,m=2")
    elif name not in there:
        faults.add(None, path, unknown("field", name, list(there)))
    else:
        values = accepted_values(name, (node,), path, known, faults)
    if values and not values & there[name].keys():
        listed = ", ".join(written(value) for value in there[name])
        faults.add(None, path, f"no cell of the grid has it; {name} there: {listed}")
    return name, values


def _value(text: str) -> Node | None:
    messages: list[str] = []
    try:
        node = compose(text, lambda _line, message: messages.append(message), with_lines=False)
    except UnreadableError:
        return None
    return None if messages else node
