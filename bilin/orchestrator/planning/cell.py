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
from bilin.rules import Outcome, select_point
from bilin.spec import Cell, ModelSettings, Point, TestSpec, TrainSpec, TrialSpec, trial_id

Kind = tuple[str, ModelSettings, TrainSpec]
"""The name of a task, a model, and how it is trained: trials that agree in these take about as long."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CellPlan:
    """One wanted cell against what is stored of it.

    Attributes:
        wanted: The cell, its learning rates, ranges and seeds.
        stored: The stored trials whose results count, by point and seed; those of when the plan was made.
        known: The outcomes by point and seed: those of ``stored``, and those of a running sweep.
        lacking_lengths: Stored trials that lack a tested length, by point and seed; without those that have run since.
        asks: The trials that should have a result by now; later rounds of a search are not among them.
        to_run: Those of them that have none, or must be tested at more lengths; some may be running.
        num_later: How many trials later rounds of a search will ask for, at most.
    """

    wanted: WantedCell
    stored: Mapping[Key, StoredTrial]
    known: Known
    lacking_lengths: Mapping[Key, StoredTrial]
    asks: tuple[Ask, ...]
    to_run: tuple[Ask, ...]
    num_later: int

    @classmethod
    def of(
        cls,
        wanted: WantedCell,
        stored: Mapping[Key, StoredTrial],
        known: Known,
        lacking_lengths: Mapping[Key, StoredTrial],
        asked: Sequence[Point] = (),
    ) -> CellPlan:
        """Decide what a cell needs, given what is known of it and the points that were asked for."""
        asks = decide(wanted, known, asked)
        to_run = _to_run(wanted, asks, known, lacking_lengths) if known else asks
        ended = known.keys() - lacking_lengths.keys() if lacking_lengths else known
        return cls(
            wanted=wanted,
            stored=stored,
            known=known,
            lacking_lengths=lacking_lengths,
            asks=asks,
            to_run=to_run,
            num_later=num_later(wanted, ended, asks, to_run),
        )

    def advance(self, key: Key, outcome: Outcome | None) -> CellPlan:
        """Return what the cell needs after one of its trials has ended; None: its stored result is gone.

        What was asked for stays asked for, before what is new.
        """
        known = dict(self.known)
        if outcome is None:
            del known[key]
        else:
            known[key] = outcome
        asks_may_change = self.lacking_lengths or self.wanted.rungs or len(self.asks) < self.wanted.max_trials
        if outcome and not asks_may_change:
            number = next((number for number, ask in enumerate(self.to_run) if ask.key == key), len(self.to_run))
            return replace(self, known=known, to_run=self.to_run[:number] + self.to_run[number + 1 :])
        lacking_lengths = {other: trial for other, trial in self.lacking_lengths.items() if other != key}
        return CellPlan.of(self.wanted, self.stored, known, lacking_lengths, self.points)

    @property
    def kind(self) -> Kind:
        """See `Kind`."""
        cell = self.wanted.cell
        return cell.task.name, cell.model, cell.train

    @property
    def points(self) -> tuple[Point, ...]:
        """The points that are asked for."""
        return tuple(dict.fromkeys(ask.point for ask in self.asks))

    @property
    def num_to_run(self) -> int:
        """Trials to run, with those of later rounds of the search."""
        return len(self.to_run) + self.num_later

    @property
    def settled(self) -> list[Ask]:
        """The trials that are asked for, are stored and need not run."""
        to_run = set(self.to_run) if self.lacking_lengths or self.wanted.rungs else ()
        return [ask for ask in self.asks if ask.key in self.stored and ask not in to_run] if self.stored else []

    @property
    def is_open(self) -> bool:
        """Whether a trial that is asked for has no result."""
        return bool(self.to_run) or any(status not in RESULT_STATUSES for status in self.statuses(self.asks))

    @property
    def may_find_more(self) -> bool:
        """Whether another sweep has results that later rounds of the search may ask for."""
        points = self.points if self.num_later else ()
        return bool(points) and any(trial.found_in and trial.point not in points for trial in self.stored.values())

    @property
    def staying(self) -> list[StoredTrial]:
        """The stored trials that are asked for and are not trained again; some may be tested."""
        return [*(self.stored[ask.key] for ask in self.settled), *self.tests] if self.stored else []

    @property
    def stale(self) -> Iterator[str]:
        """The versions of each staying trial that other versions than the installed ones ran."""
        for trial in self.staying:
            if versions := stale_versions(trial, self.wanted.cell):
                yield ", ".join(dict.fromkeys(versions.values()))

    @property
    def mixes_versions(self) -> bool:
        """Whether results of other versions than the installed ones stay beside results of the installed ones."""
        num_stale = sum(1 for _ in self.stale)
        if not num_stale:
            return False
        num_results = sum(trial.status in RESULT_STATUSES for trial in self.staying)
        return num_stale < num_results or self.num_to_run > len(self.tests)

    @property
    def tests(self) -> tuple[StoredTrial, ...]:
        """The trials to run of which only the kept weights are tested, without training."""
        if not self.lacking_lengths:
            return ()
        stored = (self.lacking_lengths.get(ask.key) for ask in self.to_run)
        return tuple(trial for trial in stored if trial and trial.has_weights)

    @property
    def num_retrained(self) -> int:
        """Trials to run that lack only tested lengths, and are trained again since no weights can be tested."""
        return sum(ask.key in self.lacking_lengths for ask in self.to_run if self.lacking_lengths) - len(self.tests)

    @property
    def num_more(self) -> int:
        """How many settled trials may be trained again after those to run, at most.

        Those are trials that lack a length and have no weights that can be tested. They are trained again if the cell
        then selects their point. What it selects changes only with new outcomes: of new trials, and of another version.
        """
        if not self.lacking_lengths or not any(map(self._has_new_outcome, self.to_run)):
            return 0
        return sum(ask.key in self.lacking_lengths for ask in self.settled)

    def _has_new_outcome(self, ask: Ask) -> bool:
        stored = self.stored.get(ask.key)
        is_test = stored is not None and stored.has_weights
        return ask.key not in self.known or (
            stored is not None and not is_test and bool(stale_versions(stored, self.wanted.cell))
        )

    @property
    def weights_kept(self) -> set[str]:
        """The trials that may keep their weights: all of them until the search is complete."""
        keep, selected = self.wanted.keep_weights, None
        if self.num_to_run:
            return {trial.trial_id for trial in self.stored.values()}
        if keep == "selected":
            selected = select_point(self.known[ask.key] for ask in self.asks)
        kept = (ask for ask in self.asks if keep == "all" or ask.point == selected)
        return {trial_id(self.wanted.cell_id, *ask.key) for ask in kept}

    def statuses(self, asks: Iterable[Ask]) -> Iterator[Status]:
        """The status of each trial, of those asked for, that is stored."""
        return (trial.status for ask in asks if (trial := self.stored.get(ask.key)))

    def spec(
        self, point: Point, seed: int, until: int | None = None, *, folder: SweepFolder | None = None
    ) -> TrialSpec:
        """The trial of the cell at a point under a seed, up to a rung; its sweep keeps weights in ``folder``."""
        wanted, stored = self.wanted, self.lacking_lengths.get((point, seed))
        test, lengths, kept = wanted.test, tuple[int, ...](), None
        if stored and stored.weights:
            lengths = missing_lengths(stored, test)
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
            test_only=lengths,
            rungs=wanted.rungs,
            until=until,
        )


def stale_versions(trial: StoredTrial, cell: Cell) -> Mapping[str, str]:
    """Return the versions with which a trial was run that differ from the installed ones, by column.

    Those of a trial without a result do not count.
    """
    if trial.status not in RESULT_STATUSES:
        return {}
    return _stale_versions(trial.origin, type(cell.task), type(cell.model))


@functools.cache
def _stale_versions(origin: Origin, task: type, tier: type) -> Mapping[str, str]:
    names = {"task_package": package_of(task), "tier_package": package_of(tier)}
    differing = origin.differences(Origin(**names, torch=importlib.metadata.version("torch")))
    return {name: f"torch {version}" if name == "torch" else version for name, version in differing.items()}


def missing_lengths(trial: StoredTrial, test: TestSpec) -> tuple[int, ...]:
    """Return the wanted lengths at which a stored trial was not tested on the wanted number of sequences."""
    return tuple(length for length in test.lengths if trial.tested.get(length) != test.num_sequences)


def _to_run(
    wanted: WantedCell, asks: Sequence[Ask], known: Known, lacking_lengths: Mapping[Key, StoredTrial]
) -> tuple[Ask, ...]:
    """Return the trials, of those asked for, that have no result or must be tested at more lengths.

    If a cell keeps weights at its selected point alone, a new length is tested there alone; the rows of other
    points are unchanged. Until the search is complete, all weights that are kept are tested.
    """
    new = tuple([ask for ask in asks if not ask.is_met(known)])
    if not lacking_lengths:
        return new
    due = set(lacking_lengths)
    if wanted.keep_weights == "selected":
        selected = None if new else select_point(known[ask.key] for ask in asks)
        due = {key for key, trial in lacking_lengths.items() if (trial.has_weights if new else key[0] == selected)}
    return tuple([ask for ask in asks if ask.key in due or not ask.is_met(known)])
