"""``--set path=value``: sets values of a grid before any of it is checked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bilin.catalog import REGISTRIES
from bilin.fields import fields_of
from bilin.orchestrator.grid.blocks import named_settings
from bilin.orchestrator.grid.node import YamlNode, shorten, unknown_name
from bilin.orchestrator.grid.settings import BLOCKS, DOCUMENT_KEYS, TOP_KEYS
from bilin.orchestrator.grid.yaml import parse_yaml

_PATH = re.compile(r"([^.\[\]]+)(?:\[([0-9]{1,9})\])?(?:\.([^.\[\]]+))?")
_KEYS = tuple(key for key in TOP_KEYS if key != "grids")


def apply_overrides(root: YamlNode, overrides: Sequence[str]) -> None:
    """Set values in a grid one after the other, each in all documents.

    ``models.hidden`` means every entry that has the field, ``models[1].hidden`` the second entry. Adds the faults of
    the overrides themselves; those of a value come when it is read.

    Args:
        root: The top level of the file.
        overrides: Each a path, ``=`` and a value in YAML.
    """
    for text in overrides:
        path, equals, value_text = text.partition("=")
        match = _PATH.fullmatch(path.strip())
        messages = ["accepted: path=value, such as train.steps=500, models.hidden=64 or models[1].rank=8"]
        if equals and match:
            key, index, field = match[1], None if match[2] is None else int(match[2]), match[3]
            documents = [root, *(root.key("grids").items if key in DOCUMENT_KEYS else ())]
            parsed, value_faults = parse_yaml(value_text, with_lines=False)
            value = parsed or YamlNode(None, "", value_faults)
            messages = [fault.message for fault in value_faults] or _problems(documents, key, index, field)
        for message in messages:
            root.faults.add(message, path=f"--set {shorten(text)}")
        if messages:
            continue
        for document in documents:
            if document is root or key in document.entries:
                for node, name in _targets(document, key, index, field):
                    node.put(name, value)


def _problems(documents: Sequence[YamlNode], key: str, index: int | None, field: str | None) -> list[str]:
    """Return what is wrong with the path of an override."""
    if key not in _KEYS:
        return [unknown_name("key", key, _KEYS)]
    if key in REGISTRIES and index is not None:
        lists = [node.items for document in documents if (node := document.key(key)).is_list]
        longest = max(map(len, lists), default=index + 1)
        return [f"found the index {index}; accepted: 0 to {longest - 1}"] if index >= longest else []
    if key in REGISTRIES and field is not None:
        names = _field_names(key, [entry for document in documents for entry in document.key(key).items])
        # if no entry is known, the faults of the entries say more
        is_known = not names or field in (*names, REGISTRIES[key].key)
        return [] if is_known else [f"no entry of {key} has it: {unknown_name('field', field, names)}"]
    if index is not None:
        return [f"{key} has no entries to choose one from; accepted: {key}=value"]
    names = [name for block in BLOCKS.get(key, ()) for name in fields_of(block)]
    if field is None or field in names:
        return []
    return [unknown_name("field", field, names) if names else f"{key} has no fields; accepted: {key}=value"]


def _targets(
    document: YamlNode, key: str, index: int | None, field: str | None
) -> Iterator[tuple[YamlNode, str | int]]:
    """Yield the mappings and lists in which ``key``, ``key.field``, ``key[index]`` or ``key[index].field`` is set."""
    node = document.key(key)
    if key in REGISTRIES and (index is not None or field is not None):
        for position, entry in enumerate(node.items):
            has_field = field in (*_field_names(key, [entry]), REGISTRIES[key].key)
            if position != index if index is not None else not has_field:
                continue
            if field is None:
                yield node, position
            elif entry.is_mapping:
                yield entry, field
    elif field is None:
        yield document, key
    else:
        if not node.is_mapping:
            document.put(key, YamlNode({}, "", document.faults))
        yield document.key(key), field


def _field_names(kind: str, entries: list[YamlNode]) -> list[str]:
    return list(dict.fromkeys(name for settings in named_settings(kind, entries) for name in fields_of(settings)))
