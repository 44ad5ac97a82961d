"""The settings objects of a block: one for each combination of its own fields, built and checked once.

The cells share them: a hundred thousand cells are mostly combinations of the same few settings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bilin.fields import Value
from bilin.orchestrator.grid.blocks import Block, report_problems
from bilin.orchestrator.grid.cells.conditions import Condition
from bilin.orchestrator.grid.cells.zipped import Group
from bilin.orchestrator.grid.faults import Faults
from bilin.orchestrator.grid.yaml import describe
from bilin.registry import blamed_on_its_package

MAX_COMBINATIONS = 1_000_000


@dataclass(frozen=True, slots=True)
class Dimension:
    """Fields of a block that vary as one: a single axis, or the part of a group that the block has."""

    names: tuple[str, ...]
    length: int
    group: int | None


@dataclass(frozen=True, slots=True)
class Variant:
    """One settings object of a block.

    Attributes:
        positions: For each group of ``zip`` that the block takes part in, which of its values this has.
        excluded: For each exclusion, the parts of it that hold for these settings.
    """

    settings: Any
    positions: Mapping[int, int]
    excluded: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Varied:
    """A block with all of its variants."""

    block: Block
    dimensions: tuple[Dimension, ...]
    variants: tuple[Variant, ...]


def vary(block: Block, groups: Sequence[Group], exclude: Sequence[Condition], faults: Faults) -> Varied | None:
    """The block with its variants; None where some of its values cannot be, or not together."""
    before = len(faults)
    dimensions = _dimensions(block, groups)
    _report_repeated(block, dimensions, faults)
    count = math.prod(dimension.length for dimension in dimensions)
    if count > MAX_COMBINATIONS:
        faults.add(block.node, block.path, too_many(count))
    if len(faults) > before:
        return None
    variants = tuple(_variants(block, dimensions, exclude, faults))
    return Varied(block, tuple(dimensions), variants) if len(faults) == before else None


def too_many(count: int) -> str:
    """The message for more combinations than a grid may have."""
    found = f"{count:,}" if count < 10**12 else "more than 10^12"
    return f"found {found} combinations; accepted: at most {MAX_COMBINATIONS:,} in one grid"


def _dimensions(block: Block, groups: Sequence[Group]) -> list[Dimension]:
    member = {name: index for index, group in enumerate(groups) for name in group.names}
    dimensions: dict[object, Dimension] = {}
    for name, choice in block.choices.items():
        if choice.is_axis:
            group = member.get(name)
            key = name if group is None else group
            names = (*dimensions[key].names, name) if key in dimensions else (name,)
            dimensions[key] = Dimension(names, len(choice.values), group)
    return list(dimensions.values())


def _report_repeated(block: Block, dimensions: Sequence[Dimension], faults: Faults) -> None:
    """A value may come again only beside others of its group."""
    for name in (dimension.names[0] for dimension in dimensions if dimension.group is None):
        seen: set[Value] = set()
        choice = block.choices[name]
        for index, (value, node) in enumerate(zip(choice.values, choice.nodes, strict=True)):
            if value in seen:
                path = f"{block.path}.{name}[{index}]"
                faults.add(node, path, f"found {describe(node)} again; accepted: each value once")
            seen.add(value)


def _variants(
    block: Block, dimensions: Sequence[Dimension], exclude: Sequence[Condition], faults: Faults
) -> list[Variant]:
    fixed = {name: choice.values[0] for name, choice in block.choices.items() if not choice.is_axis}
    variants = []
    for indices in itertools.product(*(range(dimension.length) for dimension in dimensions)):
        steps = list(zip(dimensions, indices, strict=True))
        picked = {name: index for dimension, index in steps for name in dimension.names}
        values = fixed | {name: block.choices[name].values[i] for name, i in picked.items()}
        with blamed_on_its_package(block.settings):
            settings = block.settings(**values)
            has_problems = report_problems(block, settings, picked, faults)
        if not has_problems:
            positions = {dimension.group: index for dimension, index in steps if dimension.group is not None}
            bits = tuple(condition.bits(settings) for condition in exclude)
            variants.append(Variant(settings, positions, bits))
    return variants
