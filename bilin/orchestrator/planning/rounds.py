"""The points of one round of a search: learning rates, with values for the other fields that are searched.

The first round covers the ranges. Later ones are proposed by `bilin.orchestrator.planning.gaussian`, or by a sampler of
Optuna, from candidates that are spread over the ranges. The same scores always give the same points.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from functools import lru_cache

from bilin.orchestrator.grid import LogUniform, Range
from bilin.rules import round_to_digits, values_between
from bilin.spec import Point, derive_seed

MAX_CACHED_ROUNDS = 2**14
"""How many rounds are kept: every plan of a sweep that was interrupted decides them again."""

NUM_CANDIDATES = 256
"""About how many learning rates a round is chosen from."""

NUM_POINTS = 512
"""How many points of several fields a round is chosen from."""

_BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)
"""Bases of the Halton sequence. Fields beyond the tenth use them again, from another place of the sequence."""


def coordinates(point: Point) -> tuple[float, ...]:
    """Return the learning rate and the values of the searched fields."""
    return (point.lr, *(value for _, value in point.searched))


def first_round(cell_id: str, ranges: Sequence[Range], count: int) -> list[Point]:
    """Return a Latin hypercube: each range has a value in each of ``count`` equal parts, at random within its part."""
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
def next_round(
    search: LogUniform,
    ranges: tuple[Range, ...],
    scores: tuple[tuple[Point, float], ...],
    count: int,
    seed: int,
) -> tuple[Point, ...]:
    """Return the points that the scores of those tried so far suggest."""
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


def _point(ranges: Sequence[Range], values: Sequence[float]) -> Point:
    names = (range_.name for range_ in ranges[1:])
    return Point(values[0], tuple(zip(names, values[1:], strict=True)))
