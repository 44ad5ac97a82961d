"""From a grid.yaml, or a dict, to its cells: read, override, check, expand, gather, narrow."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence

from bilin.catalog import REGISTRIES, clash
from bilin.errors import Fault, GridError
from bilin.fields import Value, fields_of, values_of
from bilin.folder import SWEEP_NAME, SWEEP_NAME_ACCEPTED
from bilin.orchestrator.grid.blocks import check_combinations, named_settings, read_settings
from bilin.orchestrator.grid.conditions import narrow
from bilin.orchestrator.grid.document import Document
from bilin.orchestrator.grid.grid import Counts, Grid, WantedCell
from bilin.orchestrator.grid.node import YamlNode
from bilin.orchestrator.grid.overrides import apply_overrides
from bilin.orchestrator.grid.plain import from_plain
from bilin.orchestrator.grid.settings import BLOCKS, DOCUMENT_KEYS, TOP_KEYS, Choices, ClusterSettings
from bilin.orchestrator.grid.yaml import parse_yaml, read_text
from bilin.spec import Cell, cell_ids


def read_grid(
    source: str | os.PathLike[str] | Mapping[str, object], *, overrides: Sequence[str] = (), only: Sequence[str] = ()
) -> Grid:
    """Read a grid: a file, or a dict with the same keys and values.

    Faults of a file have its lines; those of a dict have paths such as ``models[0].rank``.

    Args:
        source: The path of a grid.yaml, or a dict. In a dict, any sequence is a list, and arrays are converted.
        overrides: Values to set first, such as ``train.steps=500``.
        only: Conditions that narrow the cells, such as ``tier=full,m=2``.

    Raises:
        GridError: The grid, an override or a condition has faults; it carries all of them.
    """
    if isinstance(source, str | os.PathLike):
        return parse_grid(read_text(source), source=os.fspath(source), overrides=overrides, only=only)
    return _read(from_plain(source), "grid", overrides, only)


def parse_grid(text: str, *, source: str = "grid", overrides: Sequence[str] = (), only: Sequence[str] = ()) -> Grid:
    """Read a grid from the text of a grid.yaml, which errors call ``source``; see `read_grid`.

    Raises:
        GridError: The text, an override or a condition has faults; it carries all of them.
    """
    return _read(_parse(text, source), source, overrides, only)


def _read(root: YamlNode, source: str, overrides: Sequence[str], only: Sequence[str]) -> Grid:
    if not root.is_mapping:
        found = f"found {root}" if root.is_written else "is empty"
        root.fault(f"{found}; accepted: a mapping with name, tasks and models")
        root.faults.raise_if_any(source)
    apply_overrides(root, overrides)
    return _build(root, only, source, check_exclusions=not overrides)


def restore_grid(text: str, *, source: str = "resolved grid", only: Sequence[str] = ()) -> Grid:
    """Read what `bilin.orchestrator.grid.resolved` wrote, of any size, and faster than `parse_grid` does.

    Raises:
        GridError: The text is something else, or one of its tasks or tiers no longer exists.
    """
    try:
        root = from_plain(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise GridError(source, [Fault(line=None, path="", message=f"not a resolved grid: {error}")]) from error
    root.faults.raise_if_any(source)
    if not root.is_mapping:
        raise GridError(source, [Fault(line=None, path="", message=f"found {root}; accepted: a mapping")])
    _add_later_fields(root)
    return _build(root, only, source, check_exclusions=False)


def _add_later_fields(root: YamlNode) -> None:
    """Give the blocks of a resolved grid the fields that it was written without, at the values that mean the same."""
    for document in root.key("grids").items:
        blocks = [(document.key(key), settings) for key, either in BLOCKS.items() for settings in either]
        for kind in REGISTRIES:
            for entry in document.key(kind).items:
                blocks += [(entry, settings) for settings in named_settings(kind, [entry])]
        for node, settings in blocks:
            for name, field in fields_of(settings).items():
                if node.is_mapping and name not in node.entries and field.before is not dataclasses.MISSING:
                    node.put(name, from_plain(field.before))


def read_profile(path: str | os.PathLike[str]) -> Mapping[str, Value]:
    """Return what a profile says, by field of `ClusterSettings`.

    Args:
        path: A YAML file with the keys of ``cluster`` in a grid.

    Raises:
        GridError: The file has faults; it carries all of them.
    """
    root = _parse(read_text(path), os.fspath(path))
    values = _read_cluster(root.copy("profile", root.faults))
    root.faults.raise_if_any(os.fspath(path))
    return values


def _parse(text: str, source: str) -> YamlNode:
    root, faults = parse_yaml(text)
    if root is None:
        faults.raise_if_any(source)
    return root or YamlNode(None, "", faults, is_written=False)


def _build(root: YamlNode, only: Sequence[str], source: str, *, check_exclusions: bool) -> Grid:
    faults = root.faults
    name = _read_name(root)
    cluster = _read_cluster(root.key("cluster"))
    defaults = {key: node for key, node in root.entries.items() if key in DOCUMENT_KEYS}
    documents: list[Document] = []
    for node in _split(root):
        documents.append(Document(node, defaults))
        if not check_combinations(sum(document.num_combinations for document in documents), root.key("grids")):
            break  # the rest would fill the memory
    if all(document.kept is not None for document in documents):
        _check_exclusions(documents, are_all_needed=check_exclusions)
    faults.raise_if_any(source)
    earlier: dict[type, None] = {}
    for block in (block for document in documents for block in (*document.tasks, *document.models)):
        if message := clash(block.settings, earlier):
            block.node.fault(message)
        earlier[block.settings] = None
    cells = _gather(documents)
    faults.raise_if_any(source)
    narrowed = narrow(cells, only, faults)
    faults.raise_if_any(source)
    counts = Counts(
        axes=tuple(document.axes for document in documents),
        combinations=sum(document.num_combinations for document in documents),
        after_exclusion=sum(len(document.kept or ()) for document in documents),
        after_deduplication=len(cells),
    )
    plain = tuple(document.to_plain() for document in documents)
    return Grid(name=name, cells=narrowed, all_cells=cells, counts=counts, documents=plain, cluster=cluster)


def _read_name(root: YamlNode) -> str:
    node = root.key("name")
    if isinstance(node.value, str) and SWEEP_NAME.fullmatch(node.value):
        return node.value
    if node.is_written or not root.is_misspelt("name", TOP_KEYS):
        node.refuse(SWEEP_NAME_ACCEPTED, " (quote it)" if SWEEP_NAME.fullmatch(node.text) else "")
    return ""


def _read_cluster(node: YamlNode) -> Mapping[str, Value]:
    settings = read_settings(ClusterSettings, node)
    return {name: value for name, value in values_of(settings).items() if name in node.entries} if settings else {}


def _split(root: YamlNode) -> list[YamlNode]:
    indented = _remarks_on_fields()
    root.check_keys(TOP_KEYS, indented)
    grids = root.key("grids")
    if not grids.is_written:
        return [root]
    remarks = dict.fromkeys((key for key in TOP_KEYS if key not in DOCUMENT_KEYS), " (it belongs at the top level)")
    nodes = [node for node in grids.listed("a list of documents, each with its own keys") if node.check_mapping()]
    for node in nodes:
        node.check_keys(DOCUMENT_KEYS, {**indented, **remarks})
    return nodes


def _remarks_on_fields() -> dict[str, str]:
    """Return a remark for each field of a block, for those who forget to indent it."""
    owners: dict[str, list[str]] = {}
    for block, settings in BLOCKS.items():
        for name in (name for kind in settings for name in fields_of(kind)):
            owners.setdefault(name, []).append(block)
    return {name: f" (indent it: it belongs under {' or '.join(names)})" for name, names in owners.items()}


def _check_exclusions(documents: Sequence[Document], *, are_all_needed: bool) -> None:
    """Check that some cell is left and, if all exclusions are needed, that each of them excludes some.

    Overrides may leave an exclusion without a cell.
    """
    exclusions = [node for document in documents for node, _ in document.exclude]
    matched = {node for document in documents for node in document.matched}
    if documents and not any(document.kept for document in documents):
        first = next(node for node in exclusions if node.origin in matched)
        first.fault("no cell is left; accepted: exclusions that leave some")
    for node in exclusions:
        if are_all_needed and node.origin not in matched:
            node.fault("excludes nothing; accepted: values that some cell has")


def _gather(documents: Sequence[Document]) -> tuple[WantedCell, ...]:
    """Return the cells in the order in which they first come.

    The learning rates and seeds of a cell that is in several documents are united. All else that is said of it must
    be the same; otherwise both places are reported.
    """
    found: dict[str, WantedCell] = {}
    first: dict[str, Document] = {}
    for document in documents:
        cells = [
            Cell(
                task=task,
                model=model,
                train=train,
                validate=document.validate,
                searched=tuple([range_.name for range_ in ranges]),
            )
            for task, model, train, ranges in document.kept or ()
        ]
        for cell, cell_id, (*_, ranges) in zip(cells, cell_ids(cells), document.kept or (), strict=True):
            if cell_id not in found:
                first[cell_id] = document
                found[cell_id] = WantedCell(
                    cell=cell,
                    cell_id=cell_id,
                    learning_rate=document.learning_rate,
                    seeds=document.seeds,
                    test=document.test,
                    resources=document.resources,
                    keep_weights=document.keep_weights,
                    ranges=ranges,
                    pruner=document.pruner,
                )
            elif ranges != found[cell_id].ranges:
                known, other = next(
                    pair for pair in zip(found[cell_id].ranges, ranges, strict=True) if len({*pair}) > 1
                )
                both = f"{known.name}: {known.to_plain()} and {other.to_plain()}"
                message = f"some of its cells are searched twice, with {both}; accepted: one range for a cell"
                document.own.fault(message, once=True)
            elif first[cell_id] is not document:
                found[cell_id] = _unite(found[cell_id], first[cell_id], document)
    return tuple(found.values())


def _unite(wanted: WantedCell, first: Document, second: Document) -> WantedCell:
    known, other = wanted.learning_rate, second.learning_rate
    if isinstance(known, Choices) and isinstance(other, Choices) and known.until_solved == other.until_solved:
        known = other = dataclasses.replace(known, choices=tuple(dict.fromkeys(known.choices + other.choices)))
    same = {
        "learning_rate": known == other,
        "test": first.test == second.test,
        "resources": first.resources == second.resources,
        "keep_weights": first.keep_weights == second.keep_weights,
        "pruner": first.pruner == second.pruner,
    }
    for key in (key for key, is_same in same.items() if not is_same):
        remark = ", or other choices with the same until_solved" if key == "learning_rate" else ""
        where = f"{first.own.path} (line {first.own.line})" if first.own.line else first.own.path
        message = f"some of its cells are in {where} too, with another {key}; accepted: the same {key}{remark}"
        second.own.key(key).fault(message)
    seeds = tuple(dict.fromkeys(wanted.seeds + second.seeds))
    return dataclasses.replace(wanted, learning_rate=known, seeds=seeds)
