"""Reads what a sweep's jobs ask for: ``cluster`` in a grid, or a profile, a file of one person or one cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from bilin.errors import Fault, GridError
from bilin.fields import Value, fields_of
from bilin.orchestrator.grid.blocks import ClusterSettings, only_settings, read_block, read_mapping, report_problems
from bilin.orchestrator.grid.faults import Faults
from bilin.orchestrator.grid.yaml import Node, UnreadableError, compose, read_text


def read_cluster(node: Node | None, path: str, faults: Faults) -> Mapping[str, Value]:
    """What is written of a job, by field of `ClusterSettings`; nothing where it has a fault."""
    mapping = read_mapping(node, path, faults)
    block = read_block(ClusterSettings, mapping, path, faults) if mapping else None
    if block is None or report_problems(block, only_settings(block), {}, faults):
        return {}
    return {name: block.choices[name].values[0] for name in fields_of(ClusterSettings) if name in block.choices}


def read_profile(path: str | os.PathLike[str]) -> Mapping[str, Value]:
    """What a profile says, by field of `ClusterSettings`.

    Args:
        path: A YAML file with the keys of a grid's ``cluster``.

    Raises:
        GridError: The file has faults; it carries all of them.
    """
    source = os.fspath(path)
    faults = Faults()
    try:
        node = compose(read_text(Path(path)), lambda line, message: faults.add(None, "", message, line=line))
    except UnreadableError as error:
        raise GridError(source, [Fault(line=error.line, path="", message=error.message)]) from error
    values = read_cluster(node, "profile", faults)
    faults.raise_if_any(source)
    return values
