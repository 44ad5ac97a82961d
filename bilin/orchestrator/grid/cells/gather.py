"""Gathers the cells of all documents, each cell once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bilin.orchestrator.grid.blocks import Choices, LearningRate
from bilin.orchestrator.grid.cells.expand import Combination, Space
from bilin.orchestrator.grid.faults import Faults
from bilin.orchestrator.grid.grid import WantedCell
from bilin.orchestrator.grid.yaml import Node
from bilin.spec import Cell, Resources, TestSpec, ValidateSpec

_T = TypeVar("_T", int, float)


@dataclass(frozen=True, slots=True)
class Runs:
    """What is run in each cell of a document."""

    learning_rate: LearningRate
    seeds: tuple[int, ...]
    test: TestSpec
    resources: Resources

    def of(self, cell: Cell, cell_id: str) -> WantedCell:
        """The cell with these runs."""
        return WantedCell(
            cell=cell,
            cell_id=cell_id,
            learning_rate=self.learning_rate,
            seeds=self.seeds,
            test=self.test,
            resources=self.resources,
        )


@dataclass(frozen=True, slots=True)
class Part:
    """What one document adds to the grid."""

    node: Node
    path: str
    space: Space
    combinations: Sequence[Combination]
    validate: ValidateSpec
    runs: Runs

    @property
    def place(self) -> str:
        """Where the document stands, in words."""
        return f"{self.path} (line {self.node.line})" if self.node.line else self.path


def gather(parts: Iterable[Part], faults: Faults) -> tuple[WantedCell, ...]:
    """The cells in the order in which they first come.

    The rates and seeds of a cell that comes again are united. All else that is said of it must be the
    same; otherwise both places are reported.
    """
    found: dict[str, tuple[Cell, Runs, Part]] = {}
    for part in parts:
        unions = _Unions(part, faults)
        for task, model, train in part.combinations:
            cell = Cell(task=task.settings, model=model.settings, train=train.settings, validate=part.validate)
            cell_id = cell.cell_id
            if cell_id in found:
                first, runs, origin = found[cell_id]
                found[cell_id] = (first, unions.unite(runs, origin), origin)
            else:
                found[cell_id] = (cell, part.runs, part)
    return tuple(runs.of(cell, cell_id) for cell_id, (cell, runs, _) in found.items())


class _Unions:
    """Unites what documents want of one cell: once for each two, however many cells they share."""

    def __init__(self, part: Part, faults: Faults) -> None:
        self._part = part
        self._faults = faults
        self._done: dict[int, tuple[Runs, Runs]] = {}

    def unite(self, runs: Runs, origin: Part) -> Runs:
        if runs is self._part.runs:
            return runs
        if id(runs) not in self._done:
            self._done[id(runs)] = (runs, self._unite(runs, origin))
        return self._done[id(runs)][1]

    def _unite(self, first: Runs, origin: Part) -> Runs:
        second = self._part.runs
        rate = _unite_rates(first.learning_rate, second.learning_rate)
        same = {
            "learning_rate": rate is not None,
            "test": first.test == second.test,
            "resources": first.resources == second.resources,
        }
        for key in (key for key, is_same in same.items() if not is_same):
            message = f"some of its cells are in {origin.place} too, with another {key}; accepted: the same {key}"
            if key == "learning_rate":
                message += ", or other choices with the same until_solved"
            self._faults.add(self._part.node, f"{self._part.path}.{key}", message)
        seeds = _union(first.seeds, second.seeds)
        return dataclasses.replace(first, learning_rate=rate or first.learning_rate, seeds=seeds)


def _unite_rates(first: LearningRate, second: LearningRate) -> LearningRate | None:
    if isinstance(first, Choices) and isinstance(second, Choices) and first.until_solved == second.until_solved:
        return Choices(rates=_union(first.rates, second.rates), until_solved=first.until_solved)
    return first if first == second else None


def _union(first: tuple[_T, ...], second: tuple[_T, ...]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(first + second))
