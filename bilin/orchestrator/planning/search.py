"""Which learning rates of a cell should be tried, given what is known: the only importer of optuna.

The search is a pure function of the cell and of the outcomes that it may see, so nothing of it is stored:
a relaunch asks again and gets the same rates, whatever the number of workers and however often it was
stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from bilin.orchestrator.grid import Choices, LogUniform, WantedCell
from bilin.rules import Outcome, round_lr, score_lr
from bilin.spec import derive_seed

MOST_ASKS = 2**17
"""How many asks are remembered: a plan that is made anew asks all of them again."""

Known = Mapping[tuple[float, int], Outcome]
"""The outcome of each trial of a cell that has ended, by its rate and seed."""


def rates_to_try(wanted: WantedCell, known: Known) -> tuple[float, ...]:
    """The rates that the cell should have results for by now, in the order in which they were asked.

    Once all of them are known on every seed and no other is named, the cell is complete.
    """
    search = wanted.learning_rate
    if isinstance(search, LogUniform):
        return tuple(_unique(_sample(wanted, search, known)))
    if search.until_solved:
        return tuple(_until_solved(wanted, search, known))
    return search.choices


def _until_solved(wanted: WantedCell, search: Choices, known: Known) -> Iterator[float]:
    for rate in search.choices:
        yield rate
        outcomes = _outcomes(wanted, rate, known)
        if outcomes is None or all(outcome.solved for outcome in outcomes):
            return


def _sample(wanted: WantedCell, search: LogUniform, known: Known) -> Iterator[float]:
    """The asks of each round, on the results of the rounds before it; up to the first that is not complete."""
    told: list[tuple[float, float]] = []
    for first in range(0, search.trials, search.round):
        numbers = range(first, min(first + search.round, search.trials))
        asked = [_ask(wanted.cell_id, search, tuple(told), number) for number in numbers]
        yield from asked
        for rate in asked:
            outcomes = _outcomes(wanted, rate, known)
            if outcomes is None:
                return
            told.append((rate, score_lr(outcomes)))


@lru_cache(MOST_ASKS)
def _ask(cell_id: str, search: LogUniform, told: Sequence[tuple[float, float]], number: int) -> float:
    """The ask of one number, by a sampler of its own: one that is kept and given stored trials does not repeat."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = derive_seed(cell_id, "ask", number) % 2**32
    sampler = optuna.samplers.TPESampler(n_startup_trials=search.round, seed=seed)  # the first round is random
    study = optuna.create_study(sampler=sampler, direction="maximize")
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "lr": optuna.distributions.FloatDistribution(search.low, search.high, log=True)
    }
    for rate, score in told:
        study.add_trial(optuna.trial.create_trial(params={"lr": rate}, distributions=space, value=score))
    return _clip(round_lr(study.ask(space).params["lr"]), search)


def _clip(rate: float, search: LogUniform) -> float:
    """The rate within its bounds, which rounding may have left."""
    return min(max(rate, search.low), search.high)


def _outcomes(wanted: WantedCell, rate: float, known: Known) -> list[Outcome] | None:
    """The outcomes of a rate in the order of the seeds; None while one is missing."""
    outcomes = [known.get((rate, seed)) for seed in wanted.seeds]
    if any(outcome is None for outcome in outcomes):
        return None
    return [outcome for outcome in outcomes if outcome is not None]


def _unique(rates: Iterator[float]) -> Iterator[float]:
    return iter(dict.fromkeys(rates))
