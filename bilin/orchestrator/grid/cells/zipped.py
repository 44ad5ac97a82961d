"""Groups of fields that vary together, as ``zip`` names them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from bilin.fields import fields_of
from bilin.orchestrator.grid.blocks import Block, read_list, unknown
from bilin.orchestrator.grid.faults import Faults
from bilin.orchestrator.grid.yaml import Node, ScalarNode, describe


@dataclass(frozen=True, slots=True)
class Group:
    """Names of fields that vary together."""

    names: tuple[str, ...]
    node: Node
    path: str


def read_zip(node: Node | None, path: str, known: Collection[str], faults: Faults) -> tuple[Group, ...] | None:
    """The groups of a document; None where one has a fault.

    Args:
        node: The value of ``zip``.
        path: Where it stands.
        known: The fields that the document's entries have and that can be an axis.
        faults: Takes the faults.
    """
    before = len(faults)
    groups: list[Group] = []
    taken: set[str] = set()
    for index, item in enumerate(read_list(node, path, faults, "a list of groups, such as [[hidden, embedding]]")):
        names: list[str] = []
        accepted = "a list of names of fields that vary together, such as [hidden, embedding]"
        for i, name in enumerate(read_list(item, f"{path}[{index}]", faults, accepted)):
            if _is_new(name, f"{path}[{index}][{i}]", known, taken, faults):
                names.append(str(name.value))  # type: ignore[union-attr]
        if len(faults) == before and len(names) < 2:
            faults.add(item, f"{path}[{index}]", f"found {describe(item)}; accepted: at least two names")
        groups.append(Group(tuple(names), item, f"{path}[{index}]"))
    return tuple(groups) if len(faults) == before else None


def check_lengths(
    groups: Sequence[Group],
    tasks: Sequence[Block | None],
    models: Sequence[Block | None],
    train: Block | None,
    faults: Faults,
) -> None:
    """Add a fault for each group whose fields cannot vary together in some combination of entries.

    The group's fields that a combination has must all be lists of one length, or all be one value. A
    block that is None has a fault of its own, and is left out.
    """
    for group, task, model in itertools.product(groups, tasks or [None], models or [None]):
        sizes: dict[str, int | None] = {}
        for block in (block for block in (task, model, train) if block):
            for name in (name for name in group.names if name in fields_of(block.settings)):
                choice = block.choices.get(name)
                sizes[f"{block.path}.{name}"] = len(choice.values) if choice and choice.is_axis else None
        if len(set(sizes.values())) > 1:
            found = " and ".join(f"{place} has {_count(size)}" for place, size in sizes.items())
            faults.add(group.node, group.path, f"{found}; accepted: lists of one length, or one value each")


def _is_new(node: Node, path: str, known: Collection[str], taken: set[str], faults: Faults) -> bool:
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        faults.add(node, path, f"found {describe(node)}; accepted: the name of a field")
    elif node.value not in known:
        faults.add(node, path, unknown("field", node.value, sorted(known)))
    elif node.value in taken:
        faults.add(node, path, f'found "{node.value}" again; accepted: each field in one group, once')
    else:
        taken.add(node.value)
        return True
    return False


def _count(size: int | None) -> str:
    return "one value" if size is None else f"{size} values"
