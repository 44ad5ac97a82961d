"""Which trials of a cell should have a result by now, given what is known and what was asked before.

The decision is a pure function of the cell, the outcomes, and the points that its search has asked for: learning rates,
with values for the other fields that are searched. It does not depend on the number of workers, nor on the order in
which trials end. The sweep keeps the points that it asked for (see `bilin.orchestrator.planning.asked`), so a relaunch,
another machine or one more seed asks no others.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from bilin.orchestrator.grid import Choices, LogUniform, Range, WantedCell
from bilin.rules import Outcome, round_to_digits, search_score, values_between
from bilin.spec import Point, derive_seed

MAX_CACHED_ROUNDS = 2**14
"""How many rounds are kept: every plan of a sweep that was interrupted decides them again."""

NUM_CANDIDATES = 256
"""About how many learning rates a round is chosen from."""

NUM_POINTS = 512
"""How many points of several fields a round is chosen from."""

_BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)
"""Of the Halton sequence. Fields beyond the tenth take their turns again, from other places of the sequence."""

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
    return tuple(ask for points in rounds for ask in _pruned(cell, points, known))


def min_steps(cell: WantedCell) -> int:
    """Return the training steps of all trials of a cell, if as many are stopped early as its pruner can stop."""
    search, before = cell.learning_rate, 0
    size = search.round if isinstance(search, LogUniform) else cell.max_points
    rounds = [min(size, cell.max_points - first) for first in range(0, cell.max_points, size)]
    num_steps = 0
    for rung in (*cell.rungs, cell.cell.train.steps):
        num_steps += sum(rounds) * (rung - before)
        before = rung
        rounds = [_num_best(cell, count) for count in rounds]
    return num_steps * len(cell.seeds)


def _num_best(cell: WantedCell, count: int) -> int:
    """Return how many of some points go on at a rung, if no two are equal."""
    return -(-count // 2) if cell.pruner.kind == "median" else max(1, count // cell.pruner.reduction)


def _pruned(cell: WantedCell, points: Sequence[Point], known: Known) -> list[Ask]:
    """Return the trials of one round, each up to the rung at which its point falls behind, or is compared next.

    The decision at a rung waits for every trial that goes on to it, so it does not depend on which is the fastest.
    """
    until, alive = dict[Point, int | None](), list(points)
    for rung in cell.rungs:
        until.update(dict.fromkeys(alive, rung))
        if not all(Ask(point, seed, rung).is_met(known) for point in alive for seed in cell.seeds):
            break
        alive = _best(cell, alive, known, rung)
    else:
        until.update(dict.fromkeys(alive))
    return [Ask(point, seed, until[point]) for point in points for seed in cell.seeds]


def _best(cell: WantedCell, points: Sequence[Point], known: Known, rung: int) -> list[Point]:
    """Return the points that go on at a rung, in their order. Of equal ones, the first is the better."""
    chance = 1 / cell.cell.task.num_classes
    scores = {
        point: search_score([known[point, seed].at(rung) for seed in cell.seeds], chance=chance) for point in points
    }
    if cell.pruner.kind == "median":
        return [point for point in points if scores[point] >= statistics.median(scores.values())]
    ranked = sorted(points, key=scores.__getitem__, reverse=True)
    best = {*ranked[: _num_best(cell, len(points))]}
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
            _next_round(search, cell.ranges, _scores(cell, outcomes), count, seed)
            if points
            else _first_round(cell.cell_id, ranges, count)
        )
    return points


def _is_within(point: Point, ranges: Sequence[Range]) -> bool:
    return all(range_.low <= value <= range_.high for range_, value in zip(ranges, coordinates(point), strict=True))


def coordinates(point: Point) -> tuple[float, ...]:
    """Return the learning rate and the values of the searched fields."""
    return (point.lr, *(value for _, value in point.searched))


def _point(ranges: Sequence[Range], values: Sequence[float]) -> Point:
    names = (range_.name for range_ in ranges[1:])
    return Point(values[0], tuple(zip(names, values[1:], strict=True)))


def _outcomes(cell: WantedCell, point: Point, known: Known) -> list[Outcome]:
    """The outcomes of a point so far, in the order of the seeds."""
    return [known[point, seed] for seed in cell.seeds if (point, seed) in known]


def _scores(cell: WantedCell, outcomes: Mapping[Point, Sequence[Outcome]]) -> tuple[tuple[Point, float], ...]:
    if not any(outcome.is_done or outcome.paused_at for found in outcomes.values() for outcome in found):
        return tuple((point, 0.0) for point in outcomes)  # also if the task cannot say its number of classes
    chance = 1 / cell.cell.task.num_classes
    return tuple((point, search_score(found, chance=chance)) for point, found in outcomes.items())


def _first_round(cell_id: str, ranges: Sequence[Range], count: int) -> list[Point]:
    """A Latin hypercube: each range has one value in each of ``count`` equal parts, at random within its part."""
    columns = [_first_lrs(cell_id, ranges[0], count)]
    for range_ in ranges[1:]:
        draw = random.Random(derive_seed(cell_id, "ask", range_.name))
        shares = [(number + draw.random()) / count for number in range(count)]
        draw.shuffle(shares)
        columns.append([range_.at(share) for share in shares])
    found: list[Point] = []
    for values in zip(*columns, strict=True):
        point = _point(ranges, values)
        if point in found:  # the bounds are close together
            point = next(other for other in _all_points(tuple(ranges)) if other not in found)
        found.append(point)
    return found


def _first_lrs(cell_id: str, range_: Range, count: int) -> list[float]:
    width = math.log(range_.high / range_.low) / count
    lrs = []
    for number in range(count):
        position = number + random.Random(derive_seed(cell_id, "ask", number)).random()
        lrs.append(min(max(round_to_digits(range_.low * math.exp(position * width)), range_.low), range_.high))
    return lrs


@lru_cache(MAX_CACHED_ROUNDS)
def _next_round(
    search: LogUniform,
    ranges: tuple[Range, ...],
    scores: tuple[tuple[Point, float], ...],
    count: int,
    seed: int,
) -> tuple[Point, ...]:
    """The points that the scores of those tried so far suggest."""
    ranges, tried = (search.range, *ranges), dict(scores)
    if len(ranges) == 1:
        candidates = [point for point in map(Point, _candidates(*search.log_uniform)) if point not in tried]
        if len(candidates) < count:
            candidates = [point for point in _all_points(ranges) if point not in tried]
    else:
        candidates = [point for point in _first_points(ranges) if point not in tried]
        if len(candidates) < count:
            free = (point for point in _all_points(ranges) if point not in tried)
            candidates = list(itertools.islice(free, count))
    if search.sampler == "gaussian_process":
        from bilin.orchestrator.planning import gaussian

        rows = list(map(coordinates, candidates))
        chosen = gaussian.propose(ranges, [*map(coordinates, tried)], [*tried.values()], rows, count)
        return tuple(candidates[index] for index in chosen)
    from bilin.orchestrator.planning import optuna_samplers

    return tuple(optuna_samplers.propose(search, ranges, tried, candidates, count, seed=seed % 2**32))


@lru_cache(64)
def _candidates(low: float, high: float) -> tuple[float, ...]:
    """Return up to `NUM_CANDIDATES` learning rates, evenly spaced on the logarithmic scale."""
    found: list[float] = []
    step = math.log(high / low) / NUM_CANDIDATES
    for lr in values_between(low, high):
        if not found or lr >= found[-1] * math.exp(step):
            found.append(lr)
    return tuple(found)


@lru_cache(64)
def _first_points(ranges: tuple[Range, ...]) -> tuple[Point, ...]:
    return tuple(itertools.islice(_all_points(ranges), NUM_POINTS))


def _all_points(ranges: Sequence[Range]) -> Iterator[Point]:
    """Yield every point that a search may ask for, once; if they are many, in an order that covers the ranges."""
    num_points = math.prod(len(range_.values) for range_ in ranges)
    if len(ranges) == 1 or num_points <= NUM_POINTS:
        yield from (_point(ranges, values) for values in itertools.product(*(range_.values for range_ in ranges)))
        return
    found: set[Point] = set()
    for number in itertools.count(1):
        shares = [_halton(number + index // len(_BASES), _BASES[index % len(_BASES)]) for index in range(len(ranges))]
        point = _point(ranges, [range_.at(share) for range_, share in zip(ranges, shares, strict=True)])
        if point not in found:
            found.add(point)
            yield point
        if len(found) == num_points:
            return


def _halton(number: int, base: int) -> float:
    """Return an item of the van der Corput sequence of a base."""
    share, digit = 0.0, 1.0
    while number:
        digit /= base
        share += digit * (number % base)
        number //= base
    return share
