"""From the entries of a document to the combinations of its cells.

A settings object is built and checked once for each combination of its own fields, and the cells
share them: a hundred thousand cells are mostly pairs of the same few blocks.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bilin.fields import Value
from bilin.orchestrator.grid.blocks.block import Block
from bilin.orchestrator.grid.blocks.checks import report_problems
from bilin.orchestrator.grid.cells.conditions import Condition
from bilin.orchestrator.grid.cells.zipped import Group
from bilin.orchestrator.grid.faults import Faults
from bilin.orchestrator.grid.yaml import describe

MAX_COMBINATIONS = 1_000_000


@dataclass(frozen=True, slots=True)
class Space:
    """What the cells of a document are made from."""

    tasks: tuple[Block, ...]
    models: tuple[Block, ...]
    train: Block
    groups: tuple[Group, ...]
    exclude: tuple[Condition, ...]


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


Combination = tuple[Variant, Variant, Variant]


@dataclass(frozen=True, slots=True)
class Expansion:
    """The combinations of a document.

    Attributes:
        num_combinations: How many there are before exclusion.
        kept: Task, model and training of each that is left, in the order of the file.
        matched: The exclusions that mean some of them; ``unmatched``: those that mean none.
    """

    num_combinations: int
    kept: tuple[Combination, ...]
    matched: tuple[Condition, ...]
    unmatched: tuple[Condition, ...]


def expand(space: Space, faults: Faults) -> Expansion | None:
    """The combinations of a document; None where some values cannot go together."""
    before = len(faults)
    blocks = [*space.tasks, *space.models, space.train]
    for block in blocks:
        _report_repeated(block, space.groups, faults)
    if not _are_few(space, faults):
        return None
    variants = {id(block): _variants(block, space, faults) for block in blocks}
    if len(faults) > before:
        return None
    combinations = _combine(
        [variants[id(block)] for block in space.tasks],
        [variants[id(block)] for block in space.models],
        variants[id(space.train)],
    )
    return _exclude(combinations, space.exclude)


@dataclass(frozen=True, slots=True)
class _Dimension:
    """Fields of a block that vary as one: a single axis, or the part of a group that the block has."""

    names: tuple[str, ...]
    length: int
    group: int | None


def _dimensions(block: Block, groups: Sequence[Group]) -> list[_Dimension]:
    member = {name: index for index, group in enumerate(groups) for name in group.names}
    dimensions: dict[object, _Dimension] = {}
    for name, choice in block.choices.items():
        if choice.is_axis:
            group = member.get(name)
            key = name if group is None else group
            names = (*dimensions[key].names, name) if key in dimensions else (name,)
            dimensions[key] = _Dimension(names, len(choice.values), group)
    return list(dimensions.values())


def _report_repeated(block: Block, groups: Sequence[Group], faults: Faults) -> None:
    for dimension in _dimensions(block, groups):
        if dimension.group is None:  # a value may come again beside others of its group
            (name,) = dimension.names
            seen: set[Value] = set()
            for index, (value, node) in enumerate(
                zip(block.choices[name].values, block.choices[name].nodes, strict=True)
            ):
                if value in seen:
                    faults.add(
                        node,
                        f"{block.path}.{name}[{index}]",
                        f"found {describe(node)} again; accepted: each value once",
                    )
                seen.add(value)


def _are_few(space: Space, faults: Faults) -> bool:
    dimensions = {id(block): _dimensions(block, space.groups) for block in (*space.tasks, *space.models, space.train)}
    total = len(space.tasks) * len(space.models)
    if total <= MAX_COMBINATIONS:
        total = 0
        for task, model in itertools.product(space.tasks, space.models):
            joint = [*dimensions[id(task)], *dimensions[id(model)], *dimensions[id(space.train)]]
            lengths = {d.names if d.group is None else d.group: d.length for d in joint}
            total += math.prod(lengths.values())
    if total > MAX_COMBINATIONS:
        faults.add(
            space.tasks[0].node,
            "",
            f"found {_round(total)} combinations; accepted: at most {MAX_COMBINATIONS:,} in one grid",
        )
    return total <= MAX_COMBINATIONS


def _round(count: int) -> str:
    return f"{count:,}" if count < 10**12 else "more than 10^12"


def _variants(block: Block, space: Space, faults: Faults) -> list[Variant]:
    dimensions = _dimensions(block, space.groups)
    fixed = {name: choice.values[0] for name, choice in block.choices.items() if not choice.is_axis}
    variants = []
    for indices in itertools.product(*(range(dimension.length) for dimension in dimensions)):
        picked = {name: index for dimension, index in zip(dimensions, indices, strict=True) for name in dimension.names}
        settings = block.settings(**fixed, **{name: block.choices[name].values[i] for name, i in picked.items()})
        if report_problems(block, settings, picked, faults):
            continue
        positions = {d.group: index for d, index in zip(dimensions, indices, strict=True) if d.group is not None}
        variants.append(Variant(settings, positions, tuple(condition.bits(settings) for condition in space.exclude)))
    return variants


def _combine(tasks: list[list[Variant]], models: list[list[Variant]], train: list[Variant]) -> Iterator[Combination]:
    for task_variants in tasks:
        joins = [_Join(task_variants, model_variants, train) for model_variants in models]
        for task in task_variants:
            for join in joins:
                yield from join.combinations(task)


class _Join:
    """The models and trainings that go with a task: where they share a group, those of the same position."""

    def __init__(self, tasks: list[Variant], models: list[Variant], train: list[Variant]) -> None:
        with_task, with_model, with_train = (set(variants[0].positions) for variants in (tasks, models, train))
        self._of_model = sorted(with_task & with_model)
        self._of_train = sorted(with_train & (with_task | with_model))
        self._models = _by_positions(models, self._of_model)
        self._train = _by_positions(train, self._of_train)

    def combinations(self, task: Variant) -> Iterator[Combination]:
        for model in self._models[tuple(task.positions[group] for group in self._of_model)]:
            positions = {**task.positions, **model.positions}
            for train in self._train[tuple(positions[group] for group in self._of_train)]:
                yield task, model, train


def _by_positions(variants: list[Variant], groups: list[int]) -> Mapping[tuple[int, ...], list[Variant]]:
    index: dict[tuple[int, ...], list[Variant]] = defaultdict(list)
    for variant in variants:
        index[tuple(variant.positions[group] for group in groups)].append(variant)
    return index


def _exclude(combinations: Iterator[Combination], exclude: Sequence[Condition]) -> Expansion:
    targets = [condition.all_bits for condition in exclude]
    matched: set[int] = set()
    kept = []
    num_combinations = 0
    for task, model, train in combinations:
        num_combinations += 1
        hits = [
            index
            for index, target in enumerate(targets)
            if task.excluded[index] | model.excluded[index] | train.excluded[index] == target
        ]
        matched.update(hits)
        if not hits:
            kept.append((task, model, train))
    return Expansion(
        num_combinations=num_combinations,
        kept=tuple(kept),
        matched=tuple(exclude[index] for index in sorted(matched)),
        unmatched=tuple(condition for index, condition in enumerate(exclude) if index not in matched),
    )
