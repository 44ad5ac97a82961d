"""From the varied blocks of a document to the combinations of its cells."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bilin.orchestrator.grid.cells.conditions import Condition
from bilin.orchestrator.grid.cells.vary import MAX_COMBINATIONS, Variant, Varied
from bilin.orchestrator.grid.cells.zipped import Group


@dataclass(frozen=True, slots=True)
class Space:
    """What the cells of a document are made from."""

    tasks: tuple[Varied, ...]
    models: tuple[Varied, ...]
    train: Varied
    groups: tuple[Group, ...]
    exclude: tuple[Condition, ...]

    @property
    def num_combinations(self) -> int:
        """How many there are before exclusion; at least so many, where they are more than a grid may have."""
        count = len(self.tasks) * len(self.models)
        if count > MAX_COMBINATIONS:
            return count
        return sum(_count(task, model, self.train) for task, model in itertools.product(self.tasks, self.models))


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


def expand(space: Space) -> Expansion:
    """The combinations of a document."""
    targets = [condition.all_bits for condition in space.exclude]
    matched: set[int] = set()
    kept = []
    num_combinations = 0
    for task, model, train in _combine(space):
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
        matched=tuple(space.exclude[index] for index in sorted(matched)),
        unmatched=tuple(condition for index, condition in enumerate(space.exclude) if index not in matched),
    )


def _count(*blocks: Varied) -> int:
    lengths = {
        (dimension.group if dimension.group is not None else dimension.names): dimension.length
        for block in blocks
        for dimension in block.dimensions
    }
    return math.prod(lengths.values())


def _combine(space: Space) -> Iterator[Combination]:
    for tasks in space.tasks:
        joins = [_Join(tasks.variants, models.variants, space.train.variants) for models in space.models]
        for task in tasks.variants:
            for join in joins:
                yield from join.combinations(task)


class _Join:
    """The models and trainings that go with a task: where they share a group, those of the same position."""

    def __init__(self, tasks: Sequence[Variant], models: Sequence[Variant], train: Sequence[Variant]) -> None:
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


def _by_positions(variants: Sequence[Variant], groups: Sequence[int]) -> Mapping[tuple[int, ...], list[Variant]]:
    index: dict[tuple[int, ...], list[Variant]] = defaultdict(list)
    for variant in variants:
        index[tuple(variant.positions[group] for group in groups)].append(variant)
    return index
