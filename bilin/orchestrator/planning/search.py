"""Which trials of a cell should have a result by now, given what is known: the only importer of optuna.

The decision is a pure function of the cell and of the outcomes that it may see, so nothing of it is stored: a
relaunch decides the same, whatever the number of workers and however often it was stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from bilin.orchestrator.grid import Choices, LogUniform, WantedCell
from bilin.rules import Outcome, round_lr, score_lr
from bilin.spec import derive_seed

MAX_CACHED_ASKS = 2**17
"""How many answers of the sampler are kept: every plan and every outcome asks all of them again."""

Known = Mapping[tuple[float, int], Outcome]
"""The outcome of each trial of a cell that has ended, by its learning rate and seed."""


class Ask(NamedTuple):
    """A trial of a cell that should be trained up to a step; ``ask[:2]`` is its key in `Known`."""

    lr: float
    seed: int
    until_step: int


def decide(cell: WantedCell, known: Known) -> tuple[Ask, ...]:
    """Return every trial that should have a result by now, in the order in which they are asked for.

    Once all of them are known and no other is asked for, the cell is complete.
    """
    search = cell.learning_rate
    lrs: Iterable[float]
    if isinstance(search, LogUniform):
        lrs = _sample(cell, search, known)
    else:
        lrs = _until_solved(cell, search, known) if search.until_solved else search.choices
    return _asks(tuple(dict.fromkeys(lrs)), cell.seeds, cell.cell.train.steps)


@lru_cache(1024)
def _asks(lrs: tuple[float, ...], seeds: tuple[int, ...], until_step: int) -> tuple[Ask, ...]:
    return tuple(Ask(lr, seed, until_step) for lr in lrs for seed in seeds)  # shared by the many cells that ask alike


def learns(cell: WantedCell) -> bool:
    """Return whether outcomes change what `decide` asks for."""
    return isinstance(cell.learning_rate, LogUniform) or cell.learning_rate.until_solved


def _until_solved(cell: WantedCell, search: Choices, known: Known) -> Iterator[float]:
    for lr in search.choices:
        yield lr
        outcomes = _outcomes(cell, lr, known)
        if outcomes is None or all(outcome.solved for outcome in outcomes):
            return


def _sample(cell: WantedCell, search: LogUniform, known: Known) -> Iterator[float]:
    """The learning rates of each round, given the outcomes of the rounds before, up to the first incomplete round."""
    scores: list[tuple[float, float]] = []
    for first in range(0, search.trials, search.round):
        numbers = range(first, min(first + search.round, search.trials))
        lrs = [_ask_sampler(cell.cell_id, search, tuple(scores), number) for number in numbers]
        yield from lrs
        for lr in lrs:
            outcomes = _outcomes(cell, lr, known)
            if outcomes is None:
                return
            scores.append((lr, score_lr(outcomes)))


def _outcomes(cell: WantedCell, lr: float, known: Known) -> list[Outcome] | None:
    """The outcomes of a learning rate in the order of the seeds; None while one is missing."""
    outcomes = [known[lr, seed] for seed in cell.seeds if (lr, seed) in known]
    return outcomes if len(outcomes) == len(cell.seeds) else None


@lru_cache(MAX_CACHED_ASKS)
def _ask_sampler(cell_id: str, search: LogUniform, scores: Sequence[tuple[float, float]], number: int) -> float:
    """Ask a new sampler for the learning rate of one number: one that is kept and given stored trials differs."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = derive_seed(cell_id, "ask", number) % 2**32
    sampler = optuna.samplers.TPESampler(n_startup_trials=search.round, seed=seed)  # the first round is random
    study = optuna.create_study(sampler=sampler, direction="maximize")
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "lr": optuna.distributions.FloatDistribution(search.low, search.high, log=True)
    }
    for lr, score in scores:
        study.add_trial(optuna.trial.create_trial(params={"lr": lr}, distributions=space, value=score))
    lr = round_lr(study.ask(space).params["lr"])
    return min(max(lr, search.low), search.high)  # rounding may have left the bounds
