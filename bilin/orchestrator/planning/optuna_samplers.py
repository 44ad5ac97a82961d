"""Learning rates to try next, by a sampler of Optuna: the only importer of optuna."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from bilin.orchestrator.grid import LogUniform


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log meanwhile: a warning would break the line that shows the progress."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@_quiet()
def propose(
    search: LogUniform, scores: Mapping[float, float], candidates: Sequence[float], count: int, *, seed: int
) -> list[float]:
    """Return the learning rates to try next.

    Args:
        search: The bounds, and which sampler decides.
        scores: The score of each learning rate that was tried, between 0 and 1.
        candidates: Other learning rates, at least ``count`` of them; the one nearest to each answer is taken.
        count: How many to return.
        seed: Seeds the sampler.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(sampler=_sampler(search, seed), direction="maximize")
    space: dict[str, BaseDistribution] = {"lr": FloatDistribution(search.low, search.high, log=True)}
    for lr, score in scores.items():
        study.add_trial(optuna.trial.create_trial(params={"lr": lr}, distributions=space, value=score))
    free, proposed = list(candidates), list[float]()
    for _ in range(count):  # the sampler sees the trials of its earlier answers as running
        answer = study.ask(space).params["lr"]
        nearest = min(free, key=lambda lr: max(lr / answer, answer / lr))
        free.remove(nearest)
        proposed.append(nearest)
    return proposed


def _sampler(search: LogUniform, seed: int) -> optuna.samplers.BaseSampler:
    if search.sampler == "optuna_gp":  # repeated trials of a learning rate would give other scores
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=search.round, deterministic_objective=False)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.round, constant_liar=True)
