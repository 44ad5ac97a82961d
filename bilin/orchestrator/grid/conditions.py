"""Which cells ``exclude`` and ``--only`` mean: values that some fields of a cell must have."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bilin.catalog import REGISTRIES
from bilin.errors import nearest
from bilin.fields import Field, Value, fields_of, format_value, values_of
from bilin.orchestrator.grid.grid import WantedCell
from bilin.orchestrator.grid.place import Faults, Place, unknown_name
from bilin.orchestrator.grid.yaml import parse_yaml, shorten
from bilin.registry import load, package_of
from bilin.spec import TrainSpec

_NAMES = {registry.what: registry for registry in REGISTRIES.values()}

KnownFields = Mapping[str, tuple[Field, ...]]
"""The fields that a cell can have, of any task, tier or of ``train``, by name."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Accepted values of some fields, all of which must hold."""

    accepted: Mapping[str, frozenset[Value]]
    place: Place

    def holds(self, *attributes: Mapping[str, Value]) -> bool:
        """Return whether a cell meets the condition, from the attributes of its task, model and training."""
        for name, accepted in self.accepted.items():
            for values in attributes:
                if name in values:
                    if values[name] not in accepted:
                        return False
                    break
            else:
                return False
        return True


def attributes(settings: Any) -> dict[str, Value]:
    """Return the fields of a block of settings, with the name of the task or tier."""
    named = {
        registry.what: getattr(settings, registry.key)
        for registry in REGISTRIES.values()
        if isinstance(settings, registry.base)
    }
    return {**named, **values_of(settings)}


def known_fields(used: Iterable[type] = ()) -> KnownFields:
    """Return the fields of bilin's own tasks and tiers, of ``train``, and of those settings that are not bilin's."""
    own = [load(place) for registry in REGISTRIES.values() for place in registry.own.values()]
    others = [settings for settings in dict.fromkeys(used) if package_of(settings) is not None]
    known: dict[str, tuple[Field, ...]] = {}
    for name, field in (item for settings in [*own, TrainSpec, *others] for item in fields_of(settings).items()):
        known[name] = (*known.get(name, ()), field)
    return known


def read_exclude(place: Place, known: KnownFields) -> list[Condition]:
    """Return the exclusions of a document, on fields that are known."""
    conditions = []
    for item in place.listed("a list of mappings, such as [{tier: cp, m: 2}]", may_be_empty=True):
        if not item.entries:
            item.refuse("fields with values, such as {tier: cp, m: 2}")
        lines = item.node.key_lines if item.node else {}
        accepted = {name: _accepted_values(name, item.key(name), known, lines[name]) for name in item.entries}
        conditions.append(Condition(accepted, item))
    return conditions


def _accepted_values(name: str, place: Place, known: KnownFields, line: int | None = None) -> frozenset[Value]:
    """Return the values of a field, ``task`` or ``tier`` in a condition, in the type of the field.

    The place has one value or a list of values; ``line`` is that of the name.
    """
    fields = known.get(name, ())
    if not fields and name not in _NAMES:
        names = [*_NAMES, *(field for field in known if not known[field][0].is_list)]
        place.fault(unknown_name("field", name, names), line=line)
        return frozenset()
    if fields and fields[0].is_list:
        place.fault("is a list in itself, the same in all cells of a document, and cannot be a condition")
        return frozenset()
    is_list = place.node is not None and place.node.is_list
    places = place.listed("a value, or a list of values") if is_list else [place]
    accepted: set[Value] = set()
    for item in places:
        value = item.node.to_plain() if item.node else None
        if name in _NAMES:
            accepted_names = _NAMES[name].names
            if value in accepted_names:
                accepted.add(str(value))
            else:
                hint = nearest(value, accepted_names) if isinstance(value, str) else ""
                item.refuse(", ".join(accepted_names), hint)
            continue
        converted = []
        for field in fields:
            with contextlib.suppress(ValueError):
                converted.append(field.convert(value))
        accepted.update(converted)
        if not converted:
            item.refuse(fields[0].accepted)
    return frozenset(accepted)


def narrow(cells: tuple[WantedCell, ...], only: Sequence[str], faults: Faults) -> tuple[WantedCell, ...]:
    """Return the cells that have one of the values of each field that ``only`` names, as in ``tier=full,m=2``.

    For a field that is named several times, any of the values is accepted.
    """
    if not only:
        return cells
    blocks = {id(block): block for wanted in cells for block in _blocks(wanted)}
    attributes_of = {key: attributes(block) for key, block in blocks.items()}
    there: dict[str, dict[Value, None]] = {}
    for name, value in (item for values in attributes_of.values() for item in values.items()):
        if not isinstance(value, tuple):
            there.setdefault(name, {})[value] = None
    before, known = len(faults), known_fields(map(type, blocks.values()))
    accepted: dict[str, frozenset[Value]] = {}
    for part in ",".join(only).split(","):
        place = Place(None, f"--only {shorten(part.strip())}", faults)
        name, equals, text = (piece.strip() for piece in part.partition("="))
        node, text_faults = parse_yaml(text, with_lines=False)
        if not equals or node is None or text_faults:
            place.fault(f"accepted: field=value, such as tier=full or tier=full,m=2{_bare_name(part.strip(), there)}")
        elif name not in there:
            is_known = name in known and not known[name][0].is_list
            remark = " (a field of bilin that no cell of the grid has)" if is_known else ""
            place.fault(unknown_name("field", name, list(there), remark))
        else:
            values = _accepted_values(name, dataclasses.replace(place, node=node), known)
            if values and not values & there[name].keys():
                listed = ", ".join(map(format_value, there[name]))
                remark = f", though bilin has this {name}" if name in _NAMES else ""
                place.fault(f"no cell of the grid has this value{remark}; values of {name}: {listed}")
            accepted[name] = accepted.get(name, frozenset()) | values
    if len(faults) > before:
        return ()
    condition = Condition(accepted, Place(None, f"--only {shorten(','.join(only))}", faults))
    kept = tuple(cell for cell in cells if condition.holds(*(attributes_of[id(block)] for block in _blocks(cell))))
    if not kept:
        condition.place.fault("no cell has all of these values together, though some cells have each of them")
    return kept


def _bare_name(text: str, there: Mapping[str, Mapping[Value, None]]) -> str:
    """Return a hint for the name of a task or tier without its field."""
    for what, registry in _NAMES.items():
        if text in registry.names:
            lacks = "" if text in there[what] else f", but the grid has no such {what}"
            return f" (write {what}={text}{lacks})"
    return ""


def _blocks(wanted: WantedCell) -> tuple[Any, Any, Any]:
    return wanted.cell.task, wanted.cell.model, wanted.cell.train
