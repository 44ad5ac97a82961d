"""Reads the entries of ``tasks`` and ``models``: each names what it is, and then its fields."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from bilin.catalog import REGISTRIES, settings_of
from bilin.errors import PluginError, nearest
from bilin.fields import fields_of
from bilin.orchestrator.grid.blocks.block import Block, read_block, read_list, read_mapping
from bilin.orchestrator.grid.faults import Faults
from bilin.orchestrator.grid.yaml import ListNode, MappingNode, Node, ScalarNode, describe
from bilin.registry import Registry, load


def read_entries(kind: str, node: Node, path: str, faults: Faults) -> tuple[Block | None, ...]:
    """The entries of a document; None in place of each that has a fault.

    Args:
        kind: ``tasks`` or ``models``.
        node: Its value.
        path: Where it stands.
        faults: Takes the faults.
    """
    before = len(faults)
    accepted = accepted_entries(kind)
    items = read_list(node, path, faults, accepted)
    if not items and len(faults) == before:
        faults.add(node, path, f"found {describe(node)}; accepted: {accepted}")
    return tuple(_read_entry(kind, item, f"{path}[{index}]", faults) for index, item in enumerate(items))


def accepted_entries(kind: str) -> str:
    """What ``tasks`` or ``models`` may be, in words."""
    registry = REGISTRIES[kind]
    return f"a list of mappings, such as [{{{registry.key}: {next(iter(registry.names))}}}]"


def named_settings(kind: str, entry: Node) -> type | None:
    """The settings of what an entry names; None where it names nothing that can be used."""
    try:
        return _settings(kind, entry)
    except PluginError:
        return None


def all_named(kind: str, node: Node | None) -> list[type]:
    """The settings that the entries of a document name, whatever else is wrong with them."""
    entries = node.items if isinstance(node, ListNode) else ()
    return [settings for settings in (named_settings(kind, entry) for entry in entries) if settings]


def _settings(kind: str, entry: Node) -> type | None:
    registry = REGISTRIES[kind]
    node = entry.entries.get(registry.key) if isinstance(entry, MappingNode) else None
    if isinstance(node, ScalarNode) and isinstance(node.value, str) and node.value in registry.names:
        return settings_of(kind, node.value)
    return None


def _read_entry(kind: str, node: Node, path: str, faults: Faults) -> Block | None:
    mapping = read_mapping(node, path, faults)
    if mapping is None:
        return None
    registry = REGISTRIES[kind]
    try:
        settings = _settings(kind, mapping)
    except PluginError as error:
        faults.add(mapping.entries[registry.key], f"{path}.{registry.key}", str(error))
        return None
    if settings is None:
        _report_name(registry, mapping, f"{path}.{registry.key}", faults)
        return None
    elsewhere = _owners(kind, settings)
    return read_block(settings, mapping, path, faults, axes=True, also=(registry.key,), elsewhere=elsewhere)


def _report_name(registry: Registry[Any], entry: MappingNode, path: str, faults: Faults) -> None:
    node = entry.entries.get(registry.key)
    accepted = f"one of {', '.join(registry.names)}"
    if node is None:
        faults.add(entry, path, f"missing; accepted: {accepted}")
    else:
        hint = nearest(str(node.value), registry.names) if isinstance(node, ScalarNode) else ""
        faults.add(node, path, f"found {describe(node)}{hint}; accepted: {accepted}")


@functools.cache
def _owners(kind: str, settings: type) -> Mapping[str, str]:
    """For each field that only others of bilin's own have, a remark that says which."""
    owners: dict[str, list[str]] = {}
    for name, place in REGISTRIES[kind].own.items():
        for field in fields_of(load(place)):
            owners.setdefault(field, []).append(name)
    own = fields_of(settings)
    return {field: f" (a field of {', '.join(names)})" for field, names in owners.items() if field not in own}
