"""Points to try next, by a sampler of Optuna: the only importer of optuna in the orchestrator."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from bilin.orchestrator.grid import LogUniform, Range
from bilin.spec import Point


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log: a warning would break the line that shows the progress."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@_quiet()
def propose(
    search: LogUniform,
    ranges: Sequence[Range],
    scores: Mapping[Point, float],
    candidates: Sequence[Point],
    count: int,
    *,
    seed: int,
) -> list[Point]:
    """Return the points to try next.

    Args:
        search: Which sampler decides.
        ranges: Those of the learning rate and of the other searched fields.
        scores: The score of each point that was tried, between 0 and 1.
        candidates: Other points, at least ``count`` of them; the one nearest to each answer is taken.
        count: How many to return.
        seed: Seeds the sampler.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=_sampler(search, seed), direction="maximize")
    space: dict[str, BaseDistribution] = {
        range_.name: FloatDistribution(range_.low, range_.high, log=range_.scale == "log_uniform") for range_ in ranges
    }
    for point, score in scores.items():
        study.add_trial(optuna.trial.create_trial(params=_params(point), distributions=space, value=score))
    free, proposed = list(candidates), list[Point]()
    for _ in range(count):  # the sampler sees the trials of its earlier answers as running
        nearest = min(free, key=functools.partial(_distance, ranges, study.ask(space).params))
        free.remove(nearest)
        proposed.append(nearest)
    return proposed


def _params(point: Point) -> dict[str, float]:
    return {"lr": point.lr, **dict(point.searched)}


def _distance(ranges: Sequence[Range], answer: Mapping[str, float], point: Point) -> float:
    values = _params(point)
    return math.hypot(*(range_.distance(values[range_.name], answer[range_.name]) for range_ in ranges))


def _sampler(search: LogUniform, seed: int) -> optuna.samplers.BaseSampler:
    if search.sampler == "optuna_gp":  # repeated trials of a learning rate would give other scores
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=search.round, deterministic_objective=False)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.round, constant_liar=True)
