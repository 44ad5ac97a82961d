"""What a grid comes to: the cells that it wants, and how they came about."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bilin.fields import Value
from bilin.orchestrator.grid.ranges import Range
from bilin.orchestrator.grid.settings import LearningRate, LogUniform, Pruner
from bilin.spec import Cell, Resources, TestSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCell:
    """One cell, with the trials that are wanted of it.

    Attributes:
        ranges: The ranges of the searched fields of the cell, in their order.
        pruner: Which trials stop early.
    """

    cell: Cell
    cell_id: str
    learning_rate: LearningRate
    seeds: tuple[int, ...]
    test: TestSpec
    resources: Resources
    keep_weights: str
    ranges: tuple[Range, ...] = ()
    pruner: Pruner = field(default_factory=Pruner)

    @property
    def rungs(self) -> tuple[int, ...]:
        """The steps at which the pruner compares trials; empty without a pruner."""
        return self.pruner.rungs(self.cell.train.steps)

    @property
    def max_points(self) -> int:
        """The greatest number of points that are tried: of learning rates, or of these with searched fields."""
        search = self.learning_rate
        if not isinstance(search, LogUniform):
            return len(search.choices)
        return min(search.trials, math.prod(len(range_.values) for range_ in (search.range, *self.ranges)))

    @property
    def max_trials(self) -> int:
        """The greatest number of trials: every point on every seed."""
        return self.max_points * len(self.seeds)


@dataclass(frozen=True, slots=True)
class Axis:
    """A field that varies in a document, with its values; ``task`` and ``tier`` are such fields."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How the cells of a grid came about.

    Attributes:
        axes: What varies, for each document.
        combinations: The number of combinations of all documents.
        after_exclusion: How many of them are not excluded.
        after_deduplication: How many different cells those are. Only ``only`` leaves fewer of them in the grid.
    """

    axes: tuple[tuple[Axis, ...], ...]
    combinations: int
    after_exclusion: int
    after_deduplication: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A grid that has been read.

    Attributes:
        name: The sweep's name.
        cells: In the order of the file: tasks, within them models, within them train. Each cell once.
        all_cells: The same with those that ``only`` leaves out.
        counts: How they came about.
        documents: The documents with every default written out, as plain values.
        cluster: The settings of its jobs that the file has, by field of `ClusterSettings`.
    """

    name: str
    cells: tuple[WantedCell, ...]
    all_cells: tuple[WantedCell, ...]
    counts: Counts
    documents: tuple[Mapping[str, object], ...]
    cluster: Mapping[str, Value]

    @property
    def is_whole(self) -> bool:
        """Whether it has all of its cells; ``only`` leaves some out."""
        return len(self.cells) == len(self.all_cells)

    @property
    def whole(self) -> Grid:
        """The grid with all of its cells."""
        return replace(self, cells=self.all_cells)

    @property
    def max_trials(self) -> int:
        """The greatest number of trials of all cells."""
        return sum(cell.max_trials for cell in self.cells)

    def __repr__(self) -> str:
        return f"<Grid {self.name}: {len(self.cells)} cells, at most {self.max_trials} trials>"


def resolved(grid: Grid) -> str:
    """Return the whole grid, with every default written out and without ``only``, as JSON text.

    The text is itself a grid; `bilin.orchestrator.grid.restore_grid` reads it fastest.
    """
    cluster = {"cluster": grid.cluster} if grid.cluster else {}
    return json.dumps({"name": grid.name, **cluster, "grids": list(grid.documents)}, indent=1, allow_nan=False) + "\n"
