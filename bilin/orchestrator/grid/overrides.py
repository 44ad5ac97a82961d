"""``--set path=value``: sets values of a grid before any of it is checked."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from bilin.catalog import REGISTRIES
from bilin.fields import fields_of
from bilin.orchestrator.grid.blocks import named_settings
from bilin.orchestrator.grid.place import Faults, Place, unknown_name
from bilin.orchestrator.grid.settings import BLOCKS, DOCUMENT_KEYS, TOP_KEYS
from bilin.orchestrator.grid.yaml import YamlNode, parse_yaml, shorten

_PATH = re.compile(r"([^.\[\]]+)(?:\[([0-9]{1,9})\])?(?:\.([^.\[\]]+))?")
_KEYS = tuple(key for key in TOP_KEYS if key != "grids")


def apply_overrides(root: YamlNode, overrides: Sequence[str], faults: Faults) -> YamlNode:
    """Return the grid with overrides applied one after the other, each in all documents.

    ``models.hidden`` means every entry that has the field, ``models[1].hidden`` the second entry.

    Args:
        root: The top level of the file.
        overrides: Each a path, ``=`` and a value in YAML.
        faults: Collects the faults of the overrides themselves; those of a value come when it is read.
    """
    for text in overrides:
        place = Place(None, f"--set {shorten(text)}", faults)
        path, equals, value = text.partition("=")
        match = _PATH.fullmatch(path.strip())
        if not equals or not match:
            place.fault("accepted: path=value, such as train.steps=500, models.hidden=64 or models[1].rank=8")
            continue
        node, value_faults = parse_yaml(value, with_lines=False)
        key, index, field = match[1], None if match[2] is None else int(match[2]), match[3]
        grids = root.entries.get("grids")
        documents = grids.items if grids and key in DOCUMENT_KEYS else ()
        messages = [fault.message for fault in value_faults] or _problems([root, *documents], key, index, field)
        for message in messages:
            place.fault(message)
        if messages:
            continue
        edit = functools.partial(_edit, key=key, index=index, field=field, value=node or YamlNode(None, None))
        if grids and documents:
            items = tuple(edit(document) if key in document.entries else document for document in documents)
            root = root.with_entry("grids", YamlNode(grids.line, items))
        root = edit(root)
    return root


def _problems(documents: Sequence[YamlNode], key: str, index: int | None, field: str | None) -> list[str]:
    """Return what is wrong with the path of an override."""
    if key not in _KEYS:
        return [unknown_name("key", key, _KEYS)]
    if key in REGISTRIES and index is not None:
        lists = [node.items for document in documents if (node := document.entries.get(key)) and node.is_list]
        longest = max(map(len, lists), default=index + 1)
        return [f"found the index {index}; accepted: 0 to {longest - 1}"] if index >= longest else []
    if key in REGISTRIES and field is not None:
        names = _field_names(
            key, [entry for node in documents if key in node.entries for entry in node.entries[key].items]
        )
        # if no entry is known, the faults of the entries say more
        is_known = not names or field in (*names, REGISTRIES[key].key)
        return [] if is_known else [f"no entry of {key} has it: {unknown_name('field', field, names)}"]
    if index is not None:
        return [f"{key} has no entries to choose one from; accepted: {key}=value"]
    names = [name for block in BLOCKS.get(key, ()) for name in fields_of(block)]
    if field is None or field in names:
        return []
    return [unknown_name("field", field, names) if names else f"{key} has no fields; accepted: {key}=value"]


def _edit(document: YamlNode, *, key: str, index: int | None, field: str | None, value: YamlNode) -> YamlNode:
    """Return a document with the value of ``key``, ``key.field``, ``key[index]`` or ``key[index].field`` replaced."""
    old = document.entries.get(key)
    if key not in REGISTRIES or (index is None and field is None):
        if field is not None:
            block = old if old and old.is_mapping else YamlNode(None, {})
            value = block.with_entry(field, value)
        return document.with_entry(key, value)
    if not old or not old.is_list:
        return document
    entries = list(old.items)
    for position, entry in enumerate(entries):
        has_field = field in (*_field_names(key, [entry]), REGISTRIES[key].key)
        if position != index if index is not None else not has_field:
            continue
        if field is None:
            entries[position] = value
        elif entry.is_mapping:
            entries[position] = entry.with_entry(field, value)
    return document.with_entry(key, YamlNode(old.line, tuple(entries)))


def _field_names(kind: str, entries: Sequence[YamlNode]) -> list[str]:
    return list(dict.fromkeys(name for block in named_settings(kind, entries) for name in fields_of(block)))
