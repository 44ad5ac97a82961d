"""What a table shows of each cell: a value, and how the values of its seeds become one number with an interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bilin.errors import QueryError, unknown
from bilin.results.result_table import MISSING, Estimate
from bilin.results.sql.open_store import OpenStore
from bilin.results.sql.query import query
from bilin.results.statistics import Statistic, Summary, summarize
from bilin.results.tables.layout import Cell

VALUES: Mapping[str, str] = {
    "mean": "{number} accuracy at the selected learning rate, scaled so that chance is 0",
    "low": "lower end of the interval of the accuracy over seeds, scaled so that chance is 0 ({stat})",
    "high": "upper end of the interval of the accuracy over seeds, scaled so that chance is 0 ({stat})",
    "best": "best accuracy of any learning rate and seed, scaled so that chance is 0",
    "lr": "selected learning rate",
    "num_seeds": "seeds tested at the selected learning rate",
    "num_solved": "seeds solved at the selected learning rate",
    "accuracy": "{number} accuracy at the selected learning rate",
    "sequence_accuracy": "{number} share of sequences with every label correct, at the selected learning rate",
    "validation_accuracy": "{number} accuracy in validation at the selected learning rate",
    "training_loss": "{number} training loss at the selected learning rate",
    "steps": "{number} steps taken at the selected learning rate",
    "wall_s": "{number} seconds of a trial at the selected learning rate",
}
"""What a table can show, and what it is. The first seven are columns of `cells`, the others of each trial."""

ALIASES = {"accuracy_scaled": "mean"}
"""Other names of values."""

SHOWN = ("lr", "num_seeds", "num_solved", "params", "recurrent_params")
"""What can stand beside each number: columns of `cells`."""

_OF_CELLS = tuple(VALUES)[:7]
_OF_SEEDS = ("mean", "low", "high", *tuple(VALUES)[7:])
_OF_LENGTHS = ("accuracy", "sequence_accuracy")
_DECIMALS = {"training_loss": 3, "steps": 0, "wall_s": 1}
_LOWER_IS_BETTER = ("training_loss", "steps", "wall_s")

_MIXED = "*"
"""Marks a number to which trials of several versions contribute."""

_WITHOUT = "†"
"""Marks a number of a cell some of whose seeds have none."""

_NONFINITE = "‡"
"""Marks an accuracy to which sequences contribute for which the model gave logits that are not finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What is shown of a cell.

    Attributes:
        name: A key of `VALUES`.
        statistic: How the values of the seeds become one number.
        decimals: How many digits are shown after the point.
    """

    name: str
    statistic: Statistic
    decimals: int

    @classmethod
    def read(cls, value: str, stat: str | None, decimals: int | None, default: Statistic) -> Measure:
        """Return the measure that its names say.

        Raises:
            QueryError: A name is not one of those accepted.
        """
        name = ALIASES.get(value, value)
        if name not in VALUES:
            raise QueryError(unknown("value", value, [*VALUES, *ALIASES]))
        statistic = Statistic.read(stat, default)
        if stat is not None and name not in _OF_SEEDS:
            raise QueryError(f"the value {value!r} has no statistic; values that have one: {', '.join(_OF_SEEDS)}")
        if decimals is not None and not 0 <= decimals <= 10:
            raise QueryError(f"found {decimals} decimals; accepted: 0 to 10")
        digits = _DECIMALS.get(name, 2) if decimals is None else decimals
        return cls(name=name, statistic=statistic, decimals=digits)

    @property
    def meaning(self) -> str:
        """What the number is, for the note."""
        number = self.statistic.number
        if self.statistic is Statistic.BEST and self.is_lower_better:
            number = "lowest"
        return VALUES[self.name].format(number=number, stat=self.statistic)

    @property
    def is_estimated(self) -> bool:
        """Whether it is computed from values of seeds, and shown with a fixed number of digits."""
        return self.name in (*_OF_SEEDS, "best")

    @property
    def has_interval(self) -> bool:
        """Whether it is shown with its interval."""
        return self.name in _OF_SEEDS and self.name not in ("low", "high")

    @property
    def is_share(self) -> bool:
        """Whether 1 means that everything was right."""
        return self.name not in _LOWER_IS_BETTER

    @property
    def is_lower_better(self) -> bool:
        """Whether the lowest number is the best."""
        return self.name in _LOWER_IS_BETTER

    @property
    def depends_on_length(self) -> bool:
        """Whether it is of one tested length."""
        return self.name in ("mean", "low", "high", "best", "num_seeds", *_OF_LENGTHS)

    def summarize(self, scores: Sequence[float]) -> Summary:
        """Return one number for the values of all seeds, with its interval."""
        if self.statistic is Statistic.BEST and self.is_lower_better:
            return Summary(min(scores))
        return summarize(scores, self.statistic)


class Seeds:
    """What is known of the seeds of each cell, besides the columns of `cells`."""

    def __init__(self, store: OpenStore, *, sweep: str | None, everything: bool) -> None:
        self._where: dict[str, Any] = {"store": store, "sweep": sweep, "everything": everything}
        self._statuses: dict[tuple[str, str], dict[bool, dict[str, int]]] = defaultdict(lambda: {True: {}, False: {}})
        for row in self._rows("SELECT sweep, cell_id, selected, status, count(*) AS n FROM trials GROUP BY ALL"):
            self._statuses[row["sweep"], row["cell_id"]][row["selected"]][row["status"]] = row["n"]
        sql = "SELECT sweep, cell_id, length FROM _cells_at_length WHERE is_nonfinite"
        self._nonfinite = {(row["sweep"], row["cell_id"], row["length"]) for row in self._rows(sql)}

    def with_values(self, cells: Sequence[Cell], name: str) -> list[Cell]:
        """Return cells with the values of their seeds in ``scores``, instead of the accuracies."""
        if name in _OF_CELLS:
            return list(cells)
        source = "lengths JOIN trials USING (sweep, trial_id)" if name in _OF_LENGTHS else "trials"
        length = "length" if name in _OF_LENGTHS else "NULL AS length"
        found: dict[Any, list[tuple[int, float]]] = defaultdict(list)
        for row in self._rows(
            f"SELECT sweep, cell_id, {length}, seed, {name} AS value FROM {source} "
            f"WHERE selected AND status = 'done' AND {name} IS NOT NULL ORDER BY seed"
        ):
            found[row["sweep"], row["cell_id"], row["length"]].append((row["seed"], row["value"]))
        return [self._with(cell, found[cell["sweep"], cell["cell_id"], _length(cell, name)]) for cell in cells]

    def with_wilson(self, cells: Sequence[Cell]) -> list[Cell]:
        """Return cells, those of one seed with the Wilson interval of its accuracy in ``low`` and ``high``."""
        ends = {
            (row["sweep"], row["cell_id"], row["length"]): {"low": row["low_scaled"], "high": row["high_scaled"]}
            for row in self._rows(
                "SELECT sweep, cell_id, length, low_scaled, high_scaled FROM lengths JOIN trials "
                "USING (sweep, trial_id) WHERE selected AND status = 'done'"
            )
        }
        return [
            {**cell, **ends.get((cell["sweep"], cell["cell_id"], cell["length"]), {})} if _is_lone(cell) else cell
            for cell in cells
        ]

    def lost(self, cell: Cell) -> dict[str, int]:
        """Return how many trials at the selected learning rate have no number, by their status."""
        statuses = self._statuses[cell["sweep"], cell["cell_id"]][True]
        return {status: count for status, count in sorted(statuses.items()) if status != "done"}

    def is_nonfinite(self, cell: Cell) -> bool:
        """Return whether some logits were not finite, at the selected learning rate and the length of the cell."""
        return (cell["sweep"], cell["cell_id"], cell["length"]) in self._nonfinite

    def missing(self, cell: Cell) -> str:
        """Return what stands for the number of a cell that has none."""
        of_cell = self._statuses[cell["sweep"], cell["cell_id"]]
        statuses = {*of_cell[True], *of_cell[False]}
        if not statuses or "done" in statuses:
            return MISSING
        if "pruned" in statuses:
            return MISSING  # those that go on have not ended
        return "diverged" if statuses == {"diverged"} else "failed"

    def _rows(self, sql: str) -> Iterable[dict[str, Any]]:
        rows: list[dict[str, Any]] = query(sql, **self._where).to_pylist()
        return rows

    @staticmethod
    def _with(cell: Cell, values: Sequence[tuple[int, float]]) -> Cell:
        seeds, scores = [seed for seed, _ in values], [value for _, value in values]
        return {**cell, "seeds": seeds, "scores": scores, "num_seeds": len(seeds)}


def estimate(cell: Cell, measure: Measure, seeds: Seeds, *, with_seeds: bool) -> Estimate:
    """Return what is shown of a cell."""
    lost = bool(seeds.lost(cell)) and bool(cell["scores"])
    is_nonfinite = measure.depends_on_length and seeds.is_nonfinite(cell)
    mark = (_WITHOUT if lost else "") + (_NONFINITE if is_nonfinite else "") + (_MIXED if cell["mixed"] else "")
    summary = _summary(cell, measure)
    return Estimate(
        value=summary.value if summary else None,
        low=summary.low if summary and measure.has_interval else None,
        high=summary.high if summary and measure.has_interval else None,
        is_symmetric=measure.statistic.is_symmetric and not _is_lone(cell),
        num_seeds=cell["num_seeds"] if with_seeds else None,
        mark=mark,
        missing=seeds.missing(cell),
        decimals=measure.decimals,
        is_share=measure.is_share,
    )


def _summary(cell: Cell, measure: Measure) -> Summary | None:
    if measure.name == "best":
        return None if cell["best"] is None else Summary(cell["best"])
    if not cell["scores"]:
        return None
    summary = measure.summarize(cell["scores"])
    if _is_lone(cell) and measure.statistic is Statistic.MEAN_CI and measure.name in ("mean", "low", "high"):
        summary = Summary(summary.value, cell["low"], cell["high"])
    if measure.name in ("low", "high"):
        end = getattr(summary, measure.name)
        return None if end is None else Summary(end)
    return summary


def mark_best(
    column: Sequence[Estimate | None], groups: Sequence[Any], measure: Measure, *, rule: str
) -> list[Estimate | None]:
    """Return a column of estimates with the best of each group of rows marked; if all are equal, none is.

    The rule ``best`` marks what is shown as the best number, ``within-interval`` also what its interval contains.
    """
    marked = list(column)
    for group in dict.fromkeys(groups):
        of_group = {
            index: one
            for index, (one, its) in enumerate(zip(column, groups, strict=True))
            if its == group and one is not None and one.value is not None
        }
        if len({one.number for one in of_group.values()}) < 2:
            continue
        sign = -1 if measure.is_lower_better else 1
        best = max(of_group.values(), key=lambda one: sign * (one.value or 0))
        for index, one in of_group.items():
            if one.number == best.number or (rule == "within-interval" and best.contains(one)):
                marked[index] = replace(one, is_best=True)
    return marked


def _is_lone(cell: Cell) -> bool:
    return bool(cell["num_seeds"] == 1)


def _length(cell: Cell, name: str) -> int | None:
    return cell["length"] if name in _OF_LENGTHS else None


def lost_by_status(cells: Collection[Cell], seeds: Seeds) -> dict[str, int]:
    """Return how many trials at the selected learning rates of some cells have no number, by their status."""
    counts: dict[str, int] = defaultdict(int)
    for cell in {(cell["sweep"], cell["cell_id"]): cell for cell in cells if cell["scores"]}.values():
        for status, count in seeds.lost(cell).items():
            counts[status] += count
    return dict(sorted(counts.items()))
