"""Applies ``--set path=value`` to a grid, before any of it is checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from bilin.catalog import REGISTRIES
from bilin.fields import fields_of
from bilin.orchestrator.grid.blocks import ChoicesKeys, ClusterSettings, LogUniformKeys, named_settings, unknown
from bilin.orchestrator.grid.faults import Faults, shorten
from bilin.orchestrator.grid.yaml import ListNode, MappingNode, Node, ScalarNode, UnreadableError, compose
from bilin.spec import Resources, TestSpec, TrainSpec, ValidateSpec

_PATH = re.compile(r"([^.\[\]]+)(?:\[([0-9]{1,9})\])?(?:\.([^.\[\]]+))?")

BLOCKS = {
    "train": (TrainSpec,),
    "validate": (ValidateSpec,),
    "test": (TestSpec,),
    "learning_rate": (ChoicesKeys, LogUniformKeys),
    "resources": (Resources,),
}
"""The settings classes of each block of a document; of two, the grid has one."""

TOP_BLOCKS = {"cluster": (ClusterSettings,)}
"""Blocks of the whole sweep, which stand at the top alone."""

DOCUMENT_KEYS = ("tasks", "models", *BLOCKS, "seeds", "zip", "exclude")
OVERRIDABLE_KEYS = ("name", *DOCUMENT_KEYS, *TOP_BLOCKS)
TOP_KEYS = (*OVERRIDABLE_KEYS, "grids")


@dataclasses.dataclass(frozen=True, slots=True)
class _Override:
    key: str
    index: int | None
    field: str | None
    node: Node


def apply_overrides(root: MappingNode, overrides: Sequence[str], faults: Faults) -> MappingNode:
    """The grid with the overrides applied, one after the other.

    An override holds for all documents. ``models.hidden`` means every entry that has the field,
    ``models[1].hidden`` the second entry.

    Args:
        root: The file's top level.
        overrides: Each a path, ``=`` and a value in YAML.
        faults: Takes the faults of the overrides themselves; those of a value come when it is read.
    """
    for text in overrides:
        override = _parse(text, root, faults)
        if override is not None:
            root = _apply(root, override)
    return root


def _parse(text: str, root: MappingNode, faults: Faults) -> _Override | None:
    def fail(message: str) -> None:
        faults.add(None, f"--set {shorten(text)}", message)

    path, equals, value = text.partition("=")
    match = _PATH.fullmatch(path.strip())
    if not equals or not match:
        fail("accepted: path=value, such as train.steps=500, models.hidden=64 or models[1].rank=8")
        return None
    key, index, field = match.group(1), match.group(2), match.group(3)
    node = _value(value, fail)
    if node is None:
        return None
    override = _Override(key, None if index is None else int(index), field, node)
    if message := _problem(override, root):
        fail(message)
        return None
    return override


def _value(text: str, fail: Callable[[str], None]) -> Node | None:
    messages: list[str] = []
    try:
        node = compose(text, lambda _line, message: messages.append(message), with_lines=False)
    except UnreadableError as error:
        messages.append(error.message)
        node = None
    for message in messages:
        fail(message)
    return None if messages else node or ScalarNode(None, None, "")


def _problem(override: _Override, root: MappingNode) -> str:
    """What is wrong with the path of an override; empty where nothing is."""
    if override.key not in OVERRIDABLE_KEYS:
        return unknown("key", override.key, OVERRIDABLE_KEYS)
    if override.key in REGISTRIES and (override.field or override.index is not None):
        return _entry_problem(override, root)
    if override.index is not None:
        return f"{override.key} has no entries to choose one from; accepted: {override.key}=value"
    if override.field is None:
        return ""
    blocks: tuple[type, ...] = {**BLOCKS, **TOP_BLOCKS}.get(override.key, ())
    if not blocks:
        return f"{override.key} has no fields; accepted: {override.key}=value"
    names = [name for block in blocks for name in fields_of(block)]
    return "" if override.field in names else unknown("field", override.field, names)


def _entry_problem(override: _Override, root: MappingNode) -> str:
    key, field = override.key, override.field
    lists = [document.entries[key] for document in _documents(root) if key in document.entries]
    entries = [entry for node in lists if isinstance(node, ListNode) for entry in node.items]
    if override.index is not None:
        counts = [len(node.items) for node in lists if isinstance(node, ListNode)]
        if counts and override.index >= max(counts):
            return f"found the index {override.index}; accepted: 0 to {max(counts) - 1}"
        return ""
    names: dict[str, None] = {}
    for settings in (named_settings(key, entry) for entry in entries):
        names.update(dict.fromkeys(fields_of(settings) if settings else ()))
    if field is None or not names or field in names or field == REGISTRIES[key].key:
        return ""  # without any entry that is known, the faults of the entries say more
    return f"no entry of {key} has it: {unknown('field', field, list(names))}"


def _documents(root: MappingNode) -> list[MappingNode]:
    grids = root.entries.get("grids")
    below = grids.items if isinstance(grids, ListNode) else ()
    return [root, *(node for node in below if isinstance(node, MappingNode))]


def _apply(root: MappingNode, override: _Override) -> MappingNode:
    grids = root.entries.get("grids")
    if isinstance(grids, ListNode) and override.key in DOCUMENT_KEYS:
        items = tuple(_set_if_there(item, override) for item in grids.items)
        root = root.with_entry("grids", ListNode(grids.line, items))
    return _set(root, override)


def _set_if_there(document: Node, override: _Override) -> Node:
    if isinstance(document, MappingNode) and override.key in document.entries:
        return _set(document, override)
    return document


def _set(document: MappingNode, override: _Override) -> MappingNode:
    key, field, node = override.key, override.field, override.node
    if override.field is None and override.index is None:
        return document.with_entry(key, node)
    old = document.entries.get(key)
    if key in REGISTRIES:
        if not isinstance(old, ListNode):
            return document
        return document.with_entry(key, ListNode(old.line, _set_in_entries(old.items, override)))
    block = old if isinstance(old, MappingNode) else MappingNode(None, {}, {})
    return document.with_entry(key, block.with_entry(field or "", node))


def _set_in_entries(entries: tuple[Node, ...], override: _Override) -> tuple[Node, ...]:
    return tuple(
        _set_in_entry(entry, override) if _is_meant(index, entry, override) else entry
        for index, entry in enumerate(entries)
    )


def _is_meant(index: int, entry: Node, override: _Override) -> bool:
    if override.index is not None:
        return index == override.index
    settings = named_settings(override.key, entry)
    return override.field == REGISTRIES[override.key].key or (
        settings is not None and override.field in fields_of(settings)
    )


def _set_in_entry(entry: Node, override: _Override) -> Node:
    if override.field is None:
        return override.node
    return entry.with_entry(override.field, override.node) if isinstance(entry, MappingNode) else entry
