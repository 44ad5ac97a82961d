"""What a cell needs: the trials that its search asks for, minus those that are stored."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bilin.folder import SweepFolder
from bilin.orchestrator.grid import WantedCell
from bilin.orchestrator.planning.search import Ask, Key, Known, decide, num_later
from bilin.record import RESULT_STATUSES, Status
from bilin.registry import package_of
from bilin.results import Origin, StoredTrial
from bilin.rules import select_point
from bilin.spec import Cell, ModelSettings, Point, TestSpec, TrainSpec, TrialSpec, trial_id

Shape = tuple[str, ModelSettings, TrainSpec]
"""The name of a task, a model, and how it is trained: trials that agree in these take about as long."""

Untested = Mapping[Key, StoredTrial]
"""Stored trials of a cell that lack a tested length, by point and seed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellPlan:
    """One wanted cell against what is stored of it.

    Attributes:
        wanted: The cell, its learning rates, ranges and seeds.
        stored: The stored trials that stand, by point and seed.
        untested: Those of them that lack a tested length.
        known: The outcomes by point and seed: those of ``stored``, and later ones of a running sweep.
        asks: The trials that should have a result by now; later rounds of a search are not among them.
        missing: Those of them that have none, or must be tested at more lengths.
        num_later: How many trials later rounds of a search will ask for, at most.
    """

    wanted: WantedCell
    stored: Mapping[Key, StoredTrial]
    known: Known
    asks: tuple[Ask, ...]
    missing: tuple[Ask, ...]
    num_later: int
    untested: Untested

    @classmethod
    def of(
        cls,
        wanted: WantedCell,
        stored: Mapping[Key, StoredTrial],
        known: Known,
        asked: Sequence[Point] = (),
        untested: Untested | None = None,
    ) -> CellPlan:
        """Decide what a cell needs, given what is known of it and the points that were asked for."""
        untested = untested or {}
        asks = decide(wanted, known, asked)
        missing = to_run(wanted, asks, known, untested, stored) if known else asks
        later = num_later(wanted, known.keys() - untested.keys() if untested else known, asks, missing)
        return cls(
            wanted=wanted,
            stored=stored,
            known=known,
            asks=asks,
            missing=missing,
            num_later=later,
            untested=untested,
        )

    @property
    def shape(self) -> Shape:
        """See `Shape`."""
        cell = self.wanted.cell
        return cell.task.name, cell.model, cell.train

    @property
    def points(self) -> tuple[Point, ...]:
        """The points that are asked for."""
        return tuple(dict.fromkeys(ask.point for ask in self.asks))

    @property
    def num_missing(self) -> int:
        """Trials to run, with those of later rounds of the search."""
        return len(self.missing) + self.num_later

    @property
    def is_open(self) -> bool:
        """Whether a trial that is asked for has no result."""
        return bool(self.missing) or any(status not in RESULT_STATUSES for status in self.found(self.asks))

    @property
    def may_find_more(self) -> bool:
        """Whether another sweep has results that later rounds of the search may ask for."""
        points = self.points if self.num_later else ()
        return bool(points) and any(trial.found_in and trial.point not in points for trial in self.stored.values())

    def other_versions(self) -> Iterator[tuple[Ask, str]]:
        """Yield the trials, of those with a result that are not to run, that other versions than the installed ran."""
        missing = set(self.missing)
        for ask in self.asks if self.stored else ():
            trial = self.stored.get(ask[:2])
            if trial and ask not in missing and (versions := other_versions(trial, self.wanted.cell)):
                yield ask, ", ".join(dict.fromkeys(versions.values()))

    @property
    def tests(self) -> tuple[StoredTrial, ...]:
        """The missing trials whose kept weights are tested, without training."""
        found = (self.untested.get(ask[:2]) for ask in self.missing if self.untested)
        return tuple(trial for trial in found if trial and trial.has_weights)

    @property
    def num_again(self) -> int:
        """Missing trials that lack only tested lengths, and are trained again since no weights can be tested."""
        return sum(ask[:2] in self.untested for ask in self.missing if self.untested) - len(self.tests)

    @property
    def may_train_more(self) -> bool:
        """Whether the results of the missing trials may select a point whose trials lack a length and have no weights.

        These are then trained again, which is not known before.
        """
        if not self.untested or all(ask[:2] in self.known for ask in self.missing):
            return False
        return any(ask[:2] in self.untested for ask in set(self.asks).difference(self.missing))

    def with_weights(self) -> set[str]:
        """Return the trials that may keep their weights: all of them until the search is complete."""
        if self.num_missing:
            return {trial.trial_id for trial in self.stored.values()}
        asked = {trial_id(self.wanted.cell_id, *ask[:2]) for ask in self.asks}
        return asked.difference(unselected(self.wanted, self.asks, self.known))

    def found(self, asks: Iterable[Ask]) -> Iterator[Status]:
        """The status of each trial, of those asked for, that is stored."""
        return (trial.status for ask in asks if (trial := self.stored.get(ask[:2])))

    def spec(self, point: Point, seed: int, *, folder: SweepFolder | None = None) -> TrialSpec:
        """The trial of the cell at a point under a seed; ``folder`` is the one that its sweep keeps weights in."""
        wanted, stored = self.wanted, self.untested.get((point, seed))
        test, lengths, kept = wanted.test, tuple[int, ...](), None
        if stored and stored.weights:
            lengths = untested_lengths(stored, test)
            kept = folder.weights / stored.weights.name if folder else None
        elif stored:  # the new row replaces the stored one: nothing that was tested may be lost
            earlier = (length for length, number in stored.tested.items() if number == test.num_sequences)
            test = replace(test, lengths=tuple(dict.fromkeys([*test.lengths, *earlier])))
        return TrialSpec(
            cell=wanted.cell.at(point),
            lr=point.lr,
            seed=seed,
            test=test,
            resources=wanted.resources,
            weights=folder.weights if folder and wanted.keep_weights != "none" else None,
            kept=kept,
            untested=lengths,
        )


def other_versions(trial: StoredTrial, cell: Cell) -> Mapping[str, str]:
    """Return the versions with which a trial was run that differ from the installed ones, by column.

    Those of a trial without a result do not count.
    """
    if trial.status not in RESULT_STATUSES:
        return {}
    return _other_versions(trial.origin, type(cell.task), type(cell.model))


@functools.cache
def _other_versions(origin: Origin, task: type, tier: type) -> Mapping[str, str]:
    names = {"task_package": package_of(task), "tier_package": package_of(tier)}
    found = origin.differences(Origin(**names, torch=importlib.metadata.version("torch")))
    return {name: f"torch {version}" if name == "torch" else version for name, version in found.items()}


def to_run(
    wanted: WantedCell,
    asks: Sequence[Ask],
    known: Known,
    untested: Untested,
    stored: Mapping[Key, StoredTrial],
) -> tuple[Ask, ...]:
    """Return the trials, of those asked for, that have no result or must be tested at more lengths.

    If a cell keeps weights at its selected point alone, a new length is tested there alone; the rows of other
    points stand as they are. Until the search is complete, all weights that are kept are tested.
    """
    missing = tuple([ask for ask in asks if ask[:2] not in known])
    if not untested:
        return missing
    due = set(untested)
    if wanted.keep_weights == "selected" and any(trial.has_weights for trial in stored.values()):
        selected = None if missing else select_point(known[ask[:2]] for ask in asks)
        due = {key for key, trial in untested.items() if (trial.has_weights if missing else key[0] == selected)}
    return tuple([ask for ask in asks if ask[:2] not in known or ask[:2] in due])


def unselected(wanted: WantedCell, asks: Iterable[Ask], known: Known) -> list[str]:
    """Return the trials of a cell whose search is complete that keep no weights."""
    if wanted.keep_weights == "all":
        return []
    asks = list(asks)
    selected = select_point(known[ask[:2]] for ask in asks) if wanted.keep_weights == "selected" else None
    return [trial_id(wanted.cell_id, *ask[:2]) for ask in asks if ask.point != selected]


def untested_lengths(trial: StoredTrial, test: TestSpec) -> tuple[int, ...]:
    """Return the wanted lengths at which a stored trial was not tested on the wanted number of sequences."""
    return tuple(length for length in test.lengths if trial.tested.get(length) != test.num_sequences)
