"""Which trials of a cell should have a result by now, given what is known and what was asked before.

The decision is a pure function of the cell, the outcomes, and the learning rates that its search has asked for. It does
not depend on the number of workers, nor on the order in which trials end. The sweep keeps the learning rates that it
asked for (see `bilin.orchestrator.planning.asked`), so a relaunch, another machine or one more seed asks no others.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from bilin.orchestrator.grid import Choices, LogUniform, WantedCell
from bilin.rules import Outcome, lrs_between, round_lr, search_score
from bilin.spec import derive_seed

MAX_CACHED_ROUNDS = 2**14
"""How many rounds are kept: every plan of a sweep that was interrupted decides them again."""

NUM_CANDIDATES = 256
"""About how many learning rates a round is chosen from."""

Known = Mapping[tuple[float, int], Outcome]
"""The outcome of each trial of a cell that has ended, by its learning rate and seed."""


class Ask(NamedTuple):
    """A trial of a cell that should be trained up to a step; ``ask[:2]`` is its key in `Known`."""

    lr: float
    seed: int
    until_step: int


def decide(cell: WantedCell, known: Known, asked: Sequence[float] = ()) -> tuple[Ask, ...]:
    """Return every trial that should have a result by now, in the order in which they are asked for.

    Once all of them are known and no other is asked for, the cell is complete.

    Args:
        cell: What is wanted.
        known: The trials that have ended.
        asked: The learning rates that a search has asked for so far, in that order.
    """
    search = cell.learning_rate
    lrs: Iterable[float]
    if isinstance(search, LogUniform):
        lrs = _search(cell, search, known, asked)
    else:
        lrs = _until_solved(cell, search, known) if search.until_solved else search.choices
    return _asks(tuple(dict.fromkeys(lrs)), cell.seeds, cell.cell.train.steps)


@lru_cache(1024)
def _asks(lrs: tuple[float, ...], seeds: tuple[int, ...], until_step: int) -> tuple[Ask, ...]:
    return tuple(Ask(lr, seed, until_step) for lr in lrs for seed in seeds)  # shared by the many cells that ask alike


def learns(cell: WantedCell) -> bool:
    """Return whether outcomes change what `decide` asks for."""
    return isinstance(cell.learning_rate, LogUniform) or cell.learning_rate.until_solved


def num_later(
    cell: WantedCell, known: Container[tuple[float, int]], asks: Sequence[Ask], missing: Collection[Ask]
) -> int:
    """Return how many trials without a result `decide` will ask for after these, of which some are missing.

    Only a search with ``until_solved`` may ask for fewer.
    """
    if not missing:
        return 0
    search = cell.learning_rate
    if isinstance(search, LogUniform):
        return cell.max_trials - len(asks)
    later = set(search.choices) - {ask.lr for ask in asks}
    return sum((lr, seed) not in known for lr in later for seed in cell.seeds)


def _until_solved(cell: WantedCell, search: Choices, known: Known) -> Iterator[float]:
    """The learning rates up to the first that solves every seed, as far as is known."""
    for lr in search.choices:
        yield lr
        if all(outcome.solved for outcome in _outcomes(cell, lr, known)):
            return


def _search(cell: WantedCell, search: LogUniform, known: Known, asked: Sequence[float]) -> list[float]:
    """The learning rates that were asked for; if all of them have ended on every seed, also those of the next round.

    Those outside of the bounds, and those beyond the number of trials, are not wanted any more.
    """
    lrs = [lr for lr in dict.fromkeys(asked) if search.low <= lr <= search.high][: search.max_lrs]
    outcomes = {lr: _outcomes(cell, lr, known) for lr in lrs}
    count = min(search.round, search.max_lrs - len(lrs))
    if count and all(len(found) == len(cell.seeds) for found in outcomes.values()):
        seed = derive_seed(cell.cell_id, "ask", len(lrs))
        lrs += (
            _next_round(search, _scores(cell, outcomes), count, seed)
            if lrs
            else _first_round(cell.cell_id, search, count)
        )
    return lrs


def _outcomes(cell: WantedCell, lr: float, known: Known) -> list[Outcome]:
    """The outcomes of a learning rate so far, in the order of the seeds."""
    return [known[lr, seed] for seed in cell.seeds if (lr, seed) in known]


def _scores(cell: WantedCell, outcomes: Mapping[float, Sequence[Outcome]]) -> tuple[tuple[float, float], ...]:
    if not any(outcome.is_done for found in outcomes.values() for outcome in found):
        return tuple((lr, 0.0) for lr in outcomes)  # also if the task is at fault, and cannot say its number of classes
    chance = 1 / cell.cell.task.num_classes
    return tuple((lr, search_score(found, chance=chance)) for lr, found in outcomes.items())


def _first_round(cell_id: str, search: LogUniform, count: int) -> list[float]:
    """One learning rate in each of ``count`` equal parts of the logarithmic scale, at random within its part."""
    found: list[float] = []
    width = math.log(search.high / search.low) / count
    for number in range(count):
        position = number + random.Random(derive_seed(cell_id, "ask", number)).random()
        lr = min(max(round_lr(search.low * math.exp(position * width)), search.low), search.high)
        if lr in found:  # the bounds are close together
            lr = next(other for other in lrs_between(search.low, search.high) if other not in found)
        found.append(lr)
    return found


@lru_cache(MAX_CACHED_ROUNDS)
def _next_round(
    search: LogUniform, scores: tuple[tuple[float, float], ...], count: int, seed: int
) -> tuple[float, ...]:
    """The learning rates that the scores of those tried so far suggest."""
    tried = dict(scores)
    candidates = [lr for lr in _candidates(search.low, search.high) if lr not in tried]
    if len(candidates) < count:
        candidates = [lr for lr in lrs_between(search.low, search.high) if lr not in tried]
    if search.sampler == "gaussian_process":
        from bilin.orchestrator.planning import gaussian

        return tuple(gaussian.propose(tried, candidates, count))
    from bilin.orchestrator.planning import optuna_samplers

    return tuple(optuna_samplers.propose(search, tried, candidates, count, seed=seed % 2**32))


@lru_cache(64)
def _candidates(low: float, high: float) -> tuple[float, ...]:
    """Return up to `NUM_CANDIDATES` learning rates, evenly spaced on the logarithmic scale."""
    found: list[float] = []
    step = math.log(high / low) / NUM_CANDIDATES
    for lr in lrs_between(low, high):
        if not found or lr >= found[-1] * math.exp(step):
            found.append(lr)
    return tuple(found)
