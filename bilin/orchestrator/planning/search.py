"""Which trials of a cell should have a result by now, given what is known and what was asked before.

The decision is a pure function of the cell, the outcomes, and the points that its search has asked for: learning rates,
with values for the other fields that are searched. It does not depend on the number of workers, nor, without an
asynchronous pruner, on the order in which trials end. The sweep keeps the points that it asked for (see
`bilin.orchestrator.planning.asked`), so a relaunch, another machine or one more seed asks no others.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from bilin.orchestrator.grid import Choices, LogUniform, Range, WantedCell
from bilin.orchestrator.planning.rounds import coordinates, first_round, next_round
from bilin.rules import Outcome, search_score
from bilin.spec import Point, derive_seed

Key = tuple[Point, int]
"""A trial of a cell: its point and its seed."""

Known = Mapping[Key, Outcome]
"""The outcome of each trial of a cell that has ended."""


class Ask(NamedTuple):
    """A trial of a cell that should have a result.

    Attributes:
        until: The rung up to which it should be trained; None: to its end.
    """

    point: Point
    seed: int
    until: int | None = None

    @property
    def key(self) -> Key:
        """Its key in `Known`."""
        return self.point, self.seed

    def is_met(self, known: Known) -> bool:
        """Return whether the trial has ended, or has reached the rung up to which it should be trained."""
        outcome = known.get(self.key)
        if outcome is None or outcome.paused_at is None:
            return outcome is not None
        return self.until is not None and outcome.paused_at >= self.until


def decide(cell: WantedCell, known: Known, asked: Sequence[Point] = ()) -> tuple[Ask, ...]:
    """Return every trial that should have a result by now, in the order in which they are asked for.

    Once all of them are known and no other is asked for, the cell is complete.

    Args:
        cell: What is wanted.
        known: The trials that have ended.
        asked: The points that a search has asked for so far, in that order.
    """
    search = cell.learning_rate
    if isinstance(search, LogUniform):
        points = tuple(dict.fromkeys(_search(cell, search, known, asked)))
    else:
        points = tuple(_until_solved(cell, search, known)) if search.until_solved else _points(search.choices)
    return _asks_of(cell, points, known)


def _asks_of(cell: WantedCell, points: tuple[Point, ...], known: Known) -> tuple[Ask, ...]:
    """Return the trials of some points. A pruner compares those of each round."""
    if not cell.rungs:
        return _asks(points, cell.seeds)
    search = cell.learning_rate
    size = search.round if isinstance(search, LogUniform) else max(1, len(points))
    rounds = (points[first : first + size] for first in range(0, len(points), size))
    return tuple(ask for points in rounds for ask in _up_to_rungs(cell, points, known))


def min_steps(cell: WantedCell) -> int:
    """Return the training steps of all trials of a cell, if as many are stopped early as its pruner can stop.

    An asynchronous pruner may stop fewer.
    """
    search, before = cell.learning_rate, 0
    size = search.round if isinstance(search, LogUniform) else cell.max_points
    rounds = [min(size, cell.max_points - first) for first in range(0, cell.max_points, size)]
    num_steps = 0
    for rung in (*cell.rungs, cell.cell.train.steps):
        num_steps += sum(rounds) * (rung - before)
        before = rung
        rounds = [_num_best(cell, count) for count in rounds]
    return num_steps * len(cell.seeds)


def _num_best(cell: WantedCell, count: int, *, is_complete: bool = True) -> int:
    """Return how many of some points go on at a rung, if no two are equal: at least one when all have arrived."""
    if cell.pruner.kind == "median":
        return -(-count // 2)
    return max(int(is_complete), count // cell.pruner.reduction)


def _up_to_rungs(cell: WantedCell, points: Sequence[Point], known: Known) -> list[Ask]:
    """Return the trials of one round, each up to the rung at which its point falls behind, or is compared next.

    A rung decides once every trial that goes on to it has reached it, so the order does not matter. An asynchronous one
    decides whenever a point has; one that went on stays.
    """
    until, alive, is_complete = dict[Point, int | None](), list(points), True
    for rung in cell.rungs:
        until.update(dict.fromkeys(alive, rung))
        arrived = [point for point in alive if all(Ask(point, seed, rung).is_met(known) for seed in cell.seeds)]
        is_complete = is_complete and len(arrived) == len(alive)
        alive = _best(cell, arrived, known, rung, is_complete=is_complete)
    until.update(dict.fromkeys(alive))
    return [Ask(point, seed, until[point]) for point in points for seed in cell.seeds]


def _best(cell: WantedCell, points: Sequence[Point], known: Known, rung: int, *, is_complete: bool) -> list[Point]:
    """Return which of the points that have reached a rung go on, in their order; of equal ones, the first.

    With ``is_complete``, no other point will reach it; otherwise only an asynchronous pruner decides.
    """
    pruner, chance = cell.pruner, 1 / cell.cell.task.num_classes
    if not points or not (is_complete or pruner.asynchronous):
        return []
    outcomes = {point: [known[point, seed] for seed in cell.seeds] for point in points}
    scores = {
        point: search_score([outcome.at(rung) for outcome in found], chance=chance) for point, found in outcomes.items()
    }
    if pruner.kind == "median":
        median = statistics.median(scores.values())
        best = {point for point in points if scores[point] >= median}
    else:
        num_best = _num_best(cell, len(points), is_complete=is_complete)
        best = {*sorted(points, key=scores.__getitem__, reverse=True)[:num_best]}
    if pruner.asynchronous:
        best |= {point for point, found in outcomes.items() if any(outcome.is_beyond(rung) for outcome in found)}
    return [point for point in points if point in best]


@lru_cache(1024)
def _points(choices: tuple[float, ...]) -> tuple[Point, ...]:
    return tuple(map(Point, choices))  # shared by many cells, as are the trials at them


@lru_cache(1024)
def _asks(points: tuple[Point, ...], seeds: tuple[int, ...]) -> tuple[Ask, ...]:
    return tuple(Ask(point, seed) for point in points for seed in seeds)


def num_later(cell: WantedCell, ended: Container[Key], asks: Sequence[Ask], to_run: Collection[Ask]) -> int:
    """Return how many trials `decide` will ask for later, beyond ``asks``; 0 if none is to run now.

    Only a search with ``until_solved`` may ask for fewer.
    """
    if not to_run or len(asks) == cell.max_trials:
        return 0
    search = cell.learning_rate
    if isinstance(search, LogUniform):
        return cell.max_trials - len(asks)
    later = {*map(Point, search.choices)} - {ask.point for ask in asks}
    return sum((point, seed) not in ended for point in later for seed in cell.seeds)


def _until_solved(cell: WantedCell, search: Choices, known: Known) -> Iterator[Point]:
    """The learning rates up to the first that solves every seed, as far as is known."""
    for point in map(Point, search.choices):
        yield point
        if all(outcome.solved for outcome in _outcomes(cell, point, known)):
            return


def _search(cell: WantedCell, search: LogUniform, known: Known, asked: Sequence[Point]) -> list[Point]:
    """The points that were asked for; while all of them have ended on every seed, also those of the next round.

    Those outside of the bounds, and those beyond the number of trials, are not wanted any more.
    """
    ranges = (search.range, *cell.ranges)
    points = [point for point in dict.fromkeys(asked) if _is_within(point, ranges)][: cell.max_points]
    while count := min(search.round, cell.max_points - len(points)):
        if not all(ask.is_met(known) for ask in _asks_of(cell, tuple(points), known)):
            break
        outcomes = {point: _outcomes(cell, point, known) for point in points}
        seed = derive_seed(cell.cell_id, "ask", len(points))
        points += (
            next_round(search, cell.ranges, _scores(cell, outcomes), count, seed)
            if points
            else first_round(cell.cell_id, ranges, count)
        )
    return points


def _is_within(point: Point, ranges: Sequence[Range]) -> bool:
    return all(range_.low <= value <= range_.high for range_, value in zip(ranges, coordinates(point), strict=True))


def _outcomes(cell: WantedCell, point: Point, known: Known) -> list[Outcome]:
    """The outcomes of a point so far, in the order of the seeds."""
    return [known[point, seed] for seed in cell.seeds if (point, seed) in known]


def _scores(cell: WantedCell, outcomes: Mapping[Point, Sequence[Outcome]]) -> tuple[tuple[Point, float], ...]:
    if not any(outcome.is_done or outcome.paused_at is not None for found in outcomes.values() for outcome in found):
        return tuple((point, 0.0) for point in outcomes)  # also if the task cannot say its number of classes
    chance = 1 / cell.cell.task.num_classes
    return tuple((point, search_score(found, chance=chance)) for point, found in outcomes.items())
