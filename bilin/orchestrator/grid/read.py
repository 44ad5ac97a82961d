"""From a grid.yaml to its cells: read, override, check, expand, gather, narrow."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from bilin.errors import Fault, GridError
from bilin.orchestrator.grid.blocks import read_list, read_mapping, unknown
from bilin.orchestrator.grid.cells import MAX_COMBINATIONS, Expansion, gather, report_clashes, too_many
from bilin.orchestrator.grid.cluster import read_cluster
from bilin.orchestrator.grid.document import Document, Keys, read_document
from bilin.orchestrator.grid.faults import Faults, is_misspelt
from bilin.orchestrator.grid.grid import Counts, Grid
from bilin.orchestrator.grid.narrow import narrow
from bilin.orchestrator.grid.overrides import DOCUMENT_KEYS, TOP_BLOCKS, TOP_KEYS, apply_overrides
from bilin.orchestrator.grid.written import axes_of, written_document
from bilin.orchestrator.grid.yaml import (
    MappingNode,
    ScalarNode,
    UnreadableError,
    compose,
    describe,
    from_plain,
    read_text,
)

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NAME_ACCEPTED = "1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit"


def read_grid(path: str | os.PathLike[str], *, overrides: Sequence[str] = (), only: Sequence[str] = ()) -> Grid:
    """Read a grid file.

    Args:
        path: A grid.yaml.
        overrides: Values to set first, such as ``train.steps=500``.
        only: Conditions that narrow the cells, such as ``tier=full,m=2``.

    Raises:
        GridError: The file, an override or a condition has faults; it carries all of them.
    """
    source = os.fspath(path)
    try:
        text = read_text(Path(path))
    except UnreadableError as error:
        raise GridError(source, [Fault(line=error.line, path="", message=error.message)]) from error
    return parse_grid(text, source=source, overrides=overrides, only=only)


def parse_grid(text: str, *, source: str = "grid", overrides: Sequence[str] = (), only: Sequence[str] = ()) -> Grid:
    """Read a grid from its text; see `read_grid`.

    Args:
        text: What a grid.yaml holds.
        source: What the errors call it.
        overrides: Values to set first.
        only: Conditions that narrow the cells.

    Raises:
        GridError: The text, an override or a condition has faults; it carries all of them.
    """
    faults = Faults()
    root = _compose(text, source, faults)
    return _build(apply_overrides(root, overrides, faults), only, source, faults, whole=not overrides)


def restore_grid(text: str, *, source: str = "resolved grid", only: Sequence[str] = ()) -> Grid:
    """The grid that `bilin.orchestrator.grid.resolved` wrote, of any size, and quicker than `parse_grid`.

    Args:
        text: What it wrote.
        source: What the errors call it.
        only: Conditions that narrow the cells.

    Raises:
        GridError: The text is something else, or a task or tier of it is no longer there.
    """
    try:
        root = from_plain(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise GridError(source, [Fault(line=None, path="", message=f"not a resolved grid: {error}")]) from error
    if not isinstance(root, MappingNode):
        raise GridError(source, [Fault(line=None, path="", message=f"found {describe(root)}; accepted: a mapping")])
    return _build(root, only, source, Faults(), whole=False)


def _compose(text: str, source: str, faults: Faults) -> MappingNode:
    keys = "a mapping with name, tasks and models"
    try:
        root = compose(text, lambda line, message: faults.add(None, "", message, line=line))
    except UnreadableError as error:
        faults.add(None, "", error.message, line=error.line)
    else:
        if isinstance(root, MappingNode):
            return root
        faults.add(root, "", f"{f'found {describe(root)}' if root else 'is empty'}; accepted: {keys}")
    faults.raise_if_any(source)
    raise AssertionError("what is no mapping has a fault")


def _build(root: MappingNode, only: Sequence[str], source: str, faults: Faults, *, whole: bool) -> Grid:
    name = _read_name(root, faults)
    cluster = read_cluster(root.entries.get("cluster"), "cluster", faults)
    documents: list[Document] = []
    for keys in _split(root, faults):
        documents.append(read_document(keys, faults))
        if sum(each.expansion.num_combinations for each in documents if each.expansion) > MAX_COMBINATIONS:
            break  # said below; the rest would fill the memory
    expansions = [document.expansion for document in documents if document.expansion]
    if len(expansions) == len(documents):
        _check_total(root, expansions, faults)
        if whole:  # a --set that changes an axis may leave an exclusion without a cell
            _check_exclusions(expansions, faults)
    faults.raise_if_any(source)
    parts = [document.part for document in documents if document.part]
    report_clashes(parts, faults)
    cells = gather(parts, faults)
    faults.raise_if_any(source)
    narrowed = narrow(cells, only, faults)
    faults.raise_if_any(source)
    counts = Counts(
        axes=tuple(axes_of(part.space) for part in parts),
        combinations=sum(expansion.num_combinations for expansion in expansions),
        after_exclusion=sum(len(expansion.kept) for expansion in expansions),
        after_deduplication=len(cells),
    )
    documents_written = tuple(written_document(part) for part in parts)
    return Grid(name=name, cells=narrowed, counts=counts, documents=documents_written, cluster=cluster)


def _read_name(root: MappingNode, faults: Faults) -> str:
    node = root.entries.get("name")
    if node is None and is_misspelt("name", root.entries, TOP_KEYS):
        return ""
    if node is None:
        faults.add(root, "name", f"missing; accepted: {_NAME_ACCEPTED}")
    elif isinstance(node, ScalarNode) and isinstance(node.value, str) and NAME.fullmatch(node.value):
        return node.value
    else:
        quote = " (quote it)" if isinstance(node, ScalarNode) and NAME.fullmatch(node.text) else ""
        faults.add(node, "name", f"found {describe(node)}{quote}; accepted: {_NAME_ACCEPTED}")
    return ""


def _split(root: MappingNode, faults: Faults) -> list[Keys]:
    _check_keys(root, "", TOP_KEYS, faults)
    grids = root.entries.get("grids")
    if grids is None:
        return [Keys(root, "", None)]
    accepted = "a list of documents, each with its own keys"
    before = len(faults)
    items = read_list(grids, "grids", faults, accepted)
    if not items and len(faults) == before:
        faults.add(grids, "grids", f"found {describe(grids)}; accepted: {accepted}")
    documents = []
    for index, item in enumerate(items):
        path = f"grids[{index}]"
        if document := read_mapping(item, path, faults):
            _check_keys(document, f"{path}.", DOCUMENT_KEYS, faults)
            documents.append(Keys(document, path, root))
    return documents


def _check_keys(node: MappingNode, prefix: str, names: Sequence[str], faults: Faults) -> None:
    elsewhere = dict.fromkeys(("name", "grids", *TOP_BLOCKS), " (it stands at the top level)")
    for key, value in node.entries.items():
        if key not in names:
            message = unknown("key", key, names, elsewhere.get(key, ""))
            faults.add(value, f"{prefix}{key}", message, line=node.key_lines[key])


def _check_total(root: MappingNode, expansions: Sequence[Expansion], faults: Faults) -> None:
    total = sum(expansion.num_combinations for expansion in expansions)
    if total > MAX_COMBINATIONS:
        faults.add(root, "grids", too_many(total))
    elif expansions and not any(expansion.kept for expansion in expansions):
        first = next(condition for expansion in expansions for condition in expansion.matched)
        faults.add(first.node, first.path, "no cell is left; accepted: exclusions that leave some")


def _check_exclusions(expansions: Sequence[Expansion], faults: Faults) -> None:
    """Add a fault for each exclusion that means no cell of any document it holds for."""
    matched = {id(condition.node) for expansion in expansions for condition in expansion.matched}
    for condition in (condition for expansion in expansions for condition in expansion.unmatched):
        if id(condition.node) not in matched:
            faults.add(condition.node, condition.path, "excludes nothing; accepted: values that some cell has")
