"""From a grid.yaml, or a dict, to its cells: read, override, check, expand, gather, narrow."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence

from bilin.catalog import clash
from bilin.errors import Fault, GridError
from bilin.fields import Value, values_of
from bilin.folder import SWEEP_NAME, SWEEP_NAME_ACCEPTED
from bilin.orchestrator.grid.blocks import read_settings
from bilin.orchestrator.grid.conditions import narrow
from bilin.orchestrator.grid.document import MAX_COMBINATIONS, Document, too_many_combinations
from bilin.orchestrator.grid.grid import Counts, Grid, WantedCell
from bilin.orchestrator.grid.overrides import apply_overrides
from bilin.orchestrator.grid.place import Faults, Place
from bilin.orchestrator.grid.plain import from_plain
from bilin.orchestrator.grid.settings import DOCUMENT_KEYS, TOP_KEYS, Choices, ClusterSettings
from bilin.orchestrator.grid.yaml import YamlNode, parse_yaml, read_text
from bilin.spec import Cell


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
    root, found = from_plain(source)
    faults = Faults()
    for fault in found:
        faults.add(fault)
    return _read(root, faults, "grid", overrides, only)


def parse_grid(text: str, *, source: str = "grid", overrides: Sequence[str] = (), only: Sequence[str] = ()) -> Grid:
    """Read a grid from the text of a grid.yaml, which errors call ``source``; see `read_grid`.

    Raises:
        GridError: The text, an override or a condition has faults; it carries all of them.
    """
    root, faults = _parse(text, source)
    return _read(root, faults, source, overrides, only)


def _read(root: YamlNode | None, faults: Faults, source: str, overrides: Sequence[str], only: Sequence[str]) -> Grid:
    if root is None or not root.is_mapping:
        found = f"found {root}" if root else "is empty"
        Place(root, "", faults).fault(f"{found}; accepted: a mapping with name, tasks and models")
        faults.raise_if_any(source)
    root = apply_overrides(root or YamlNode(None, {}), overrides, faults)
    return _build(root, only, source, faults, check_exclusions=not overrides)


def restore_grid(text: str, *, source: str = "resolved grid", only: Sequence[str] = ()) -> Grid:
    """Read what `bilin.orchestrator.grid.resolved` wrote, of any size, and faster than `parse_grid` does.

    Raises:
        GridError: The text is something else, or one of its tasks or tiers no longer exists.
    """
    try:
        root, faults = from_plain(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise GridError(source, [Fault(line=None, path="", message=f"not a resolved grid: {error}")]) from error
    if faults:
        raise GridError(source, faults)
    if not root.is_mapping:
        raise GridError(source, [Fault(line=None, path="", message=f"found {root}; accepted: a mapping")])
    return _build(root, only, source, Faults(), check_exclusions=False)


def read_profile(path: str | os.PathLike[str]) -> Mapping[str, Value]:
    """Return what a profile says, by field of `ClusterSettings`.

    Args:
        path: A YAML file with the keys of ``cluster`` in a grid.

    Raises:
        GridError: The file has faults; it carries all of them.
    """
    root, faults = _parse(read_text(path), os.fspath(path))
    values = _read_cluster(Place(root, "profile", faults))
    faults.raise_if_any(os.fspath(path))
    return values


def _parse(text: str, source: str) -> tuple[YamlNode | None, Faults]:
    root, text_faults = parse_yaml(text)
    faults = Faults()
    for fault in text_faults:
        faults.add(fault)
    if root is None:
        faults.raise_if_any(source)
    return root, faults


def _build(root: YamlNode, only: Sequence[str], source: str, faults: Faults, *, check_exclusions: bool) -> Grid:
    top = Place(root, "", faults)
    name = _read_name(top)
    cluster = _read_cluster(top.key("cluster"))
    documents: list[Document] = []
    combinations = 0
    for place in _split(top):
        documents.append(Document(place, top))
        combinations += documents[-1].num_combinations
        if combinations > MAX_COMBINATIONS:
            top.key("grids").fault(too_many_combinations(combinations))
            break  # the rest would fill the memory
    if all(document.kept is not None for document in documents):
        _check_exclusions(documents, are_all_needed=check_exclusions)
    faults.raise_if_any(source)
    earlier: dict[type, None] = {}
    for block in (block for document in documents for block in (*document.tasks, *document.models)):
        if message := clash(block.settings, earlier):
            block.place.fault(message)
        earlier[block.settings] = None
    cells = _gather(documents)
    faults.raise_if_any(source)
    narrowed = narrow(cells, only, faults)
    faults.raise_if_any(source)
    counts = Counts(
        axes=tuple(document.axes for document in documents),
        combinations=combinations,
        after_exclusion=sum(len(document.kept or ()) for document in documents),
        after_deduplication=len(cells),
    )
    plain = tuple(document.to_plain() for document in documents)
    return Grid(name=name, cells=narrowed, counts=counts, documents=plain, cluster=cluster)


def _read_name(top: Place) -> str:
    place = top.key("name")
    value = place.node.value if place.node else None
    if isinstance(value, str) and SWEEP_NAME.fullmatch(value):
        return value
    if place.node or not top.is_misspelt("name", TOP_KEYS):
        quote = " (quote it)" if place.node and SWEEP_NAME.fullmatch(place.node.text) else ""
        place.refuse(SWEEP_NAME_ACCEPTED, quote)
    return ""


def _read_cluster(place: Place) -> Mapping[str, Value]:
    settings = read_settings(ClusterSettings, place)
    return {name: value for name, value in values_of(settings).items() if name in place.entries} if settings else {}


def _split(top: Place) -> list[Place]:
    remarks = dict.fromkeys((key for key in TOP_KEYS if key not in DOCUMENT_KEYS), " (it belongs at the top level)")
    top.check_keys(TOP_KEYS)
    grids = top.key("grids")
    if grids.node is None:
        return [top]
    places = [place for place in grids.listed("a list of documents, each with its own keys") if place.is_mapping()]
    for place in places:
        place.check_keys(DOCUMENT_KEYS, remarks)
    return places


def _check_exclusions(documents: Sequence[Document], *, are_all_needed: bool) -> None:
    """Check that some cell is left and, if all exclusions are needed, that each of them excludes some.

    Overrides may leave an exclusion without a cell.
    """
    exclusions = [condition.place for document in documents for condition in document.exclude]
    matched = {document.exclude[index].place.node for document in documents for index in document.matched}
    if documents and not any(document.kept for document in documents):
        first = next(place for place in exclusions if place.node in matched)
        first.fault("no cell is left; accepted: exclusions that leave some")
    for place in exclusions:
        if are_all_needed and place.node not in matched:
            place.fault("excludes nothing; accepted: values that some cell has")


def _gather(documents: Sequence[Document]) -> tuple[WantedCell, ...]:
    """Return the cells in the order in which they first come.

    The learning rates and seeds of a cell that is in several documents are united. All else that is said of it must
    be the same; otherwise both places are reported.
    """
    found: dict[str, tuple[WantedCell, Document]] = {}
    for document in documents:
        for task, model, train in document.kept or ():
            cell = Cell(task=task.settings, model=model.settings, train=train.settings, validate=document.validate)
            cell_id = cell.cell_id
            if cell_id not in found:
                wanted = WantedCell(
                    cell=cell,
                    cell_id=cell_id,
                    learning_rate=document.learning_rate,
                    seeds=document.seeds,
                    test=document.test,
                    resources=document.resources,
                )
                found[cell_id] = wanted, document
            elif (first := found[cell_id])[1] is not document:
                found[cell_id] = _unite(*first, document), first[1]
    return tuple(wanted for wanted, _ in found.values())


def _unite(wanted: WantedCell, first: Document, second: Document) -> WantedCell:
    known, other = wanted.learning_rate, second.learning_rate
    if isinstance(known, Choices) and isinstance(other, Choices) and known.until_solved == other.until_solved:
        known = other = dataclasses.replace(known, choices=tuple(dict.fromkeys(known.choices + other.choices)))
    same = {
        "learning_rate": known == other,
        "test": first.test == second.test,
        "resources": first.resources == second.resources,
    }
    for key in (key for key, is_same in same.items() if not is_same):
        remark = ", or other choices with the same until_solved" if key == "learning_rate" else ""
        message = f"some of its cells are in {first.where} too, with another {key}; accepted: the same {key}{remark}"
        second.place.key(key).fault(message)
    seeds = tuple(dict.fromkeys(wanted.seeds + second.seeds))
    return dataclasses.replace(wanted, learning_rate=known, seeds=seeds)
