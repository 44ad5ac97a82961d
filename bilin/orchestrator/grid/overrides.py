"""``--set path=value``: sets values of a grid before any of it is checked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bilin.catalog import REGISTRIES
from bilin.fields import fields_of
from bilin.orchestrator.grid.blocks import named_settings
from bilin.orchestrator.grid.place import Faults, Place, unknown_name
from bilin.orchestrator.grid.settings import BLOCKS, DOCUMENT_KEYS, TOP_KEYS
from bilin.orchestrator.grid.yaml import YamlNode, parse_yaml, shorten

_PATH = re.compile(r"([^.\[\]]+)(?:\[([0-9]{1,9})\])?(?:\.([^.\[\]]+))?")
_KEYS = tuple(key for key in TOP_KEYS if key != "grids")


@dataclass(frozen=True, slots=True)
class _Override:
    """The value of ``key``, ``key.field``, ``key[index]`` or ``key[index].field``."""

    key: str
    index: int | None
    field: str | None
    node: YamlNode

    @property
    def is_in_entries(self) -> bool:
        return self.key in REGISTRIES and (self.index is not None or self.field is not None)

    def problem(self, root: YamlNode) -> str:
        """Return what is wrong with the path; empty if nothing is."""
        if self.key not in _KEYS:
            return unknown_name("key", self.key, _KEYS)
        if self.is_in_entries:
            grids = root.entries.get("grids")
            documents = [root, *(grids.items if grids else ())]
            return self._entry_problem([node.entries[self.key] for node in documents if self.key in node.entries])
        if self.index is not None:
            return f"{self.key} has no entries to choose one from; accepted: {self.key}=value"
        names = [name for block in BLOCKS.get(self.key, ()) for name in fields_of(block)]
        if self.field is None or self.field in names:
            return ""
        return (
            unknown_name("field", self.field, names)
            if names
            else f"{self.key} has no fields; accepted: {self.key}=value"
        )

    def _entry_problem(self, lists: Sequence[YamlNode]) -> str:
        if self.index is not None:
            longest = max((len(node.items) for node in lists if node.is_list), default=self.index + 1)
            return f"found the index {self.index}; accepted: 0 to {longest - 1}" if self.index >= longest else ""
        settings = named_settings(self.key, [entry for node in lists for entry in node.items])
        names = dict.fromkeys(name for block in settings for name in fields_of(block))
        if not self.field or not names or self.field in (*names, REGISTRIES[self.key].key):
            return ""  # if no entry is known, the faults of the entries say more
        return f"no entry of {self.key} has it: {unknown_name('field', self.field, list(names))}"

    def apply(self, root: YamlNode) -> YamlNode:
        """Return the grid with the value, in all of its documents."""
        grids = root.entries.get("grids")
        if grids and grids.is_list and self.key in DOCUMENT_KEYS:
            items = tuple(self._set(item) if self.key in item.entries else item for item in grids.items)
            root = root.with_entry("grids", YamlNode(grids.line, items))
        return self._set(root)

    def _set(self, document: YamlNode) -> YamlNode:
        old = document.entries.get(self.key)
        if self.is_in_entries:
            if not old or not old.is_list:
                return document
            items = tuple(self._set_in_entry(index, entry) for index, entry in enumerate(old.items))
            return document.with_entry(self.key, YamlNode(old.line, items))
        if self.field is None:
            return document.with_entry(self.key, self.node)
        block = old if old and old.is_mapping else YamlNode(None, {})
        return document.with_entry(self.key, block.with_entry(self.field, self.node))

    def _set_in_entry(self, index: int, entry: YamlNode) -> YamlNode:
        if self.index is None:
            names = [name for block in named_settings(self.key, [entry]) for name in fields_of(block)]
            is_meant = self.field in (*names, REGISTRIES[self.key].key)
        else:
            is_meant = index == self.index
        if not is_meant:
            return entry
        if self.field is None:
            return self.node
        return entry.with_entry(self.field, self.node) if entry.is_mapping else entry


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
        index = None if match[2] is None else int(match[2])
        override = _Override(match[1], index, match[3], node or YamlNode(None, None))
        messages = [fault.message for fault in value_faults] or list(filter(None, [override.problem(root)]))
        for message in messages:
            place.fault(message)
        root = root if messages else override.apply(root)
    return root
