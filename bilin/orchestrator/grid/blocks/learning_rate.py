"""How a cell's learning rates are chosen: listed, or searched between two bounds."""

from __future__ import annotations

from dataclasses import dataclass

from bilin.fields import option
from bilin.orchestrator.grid.blocks.block import Block, read_block, read_mapping
from bilin.orchestrator.grid.faults import Faults
from bilin.orchestrator.grid.yaml import MappingNode, Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """Each of these rates is tried.

    Attributes:
        until_solved: One rate after the other, until one has solved the cell on every seed.
    """

    rates: tuple[float, ...]
    until_solved: bool

    @property
    def max_rates(self) -> int:
        """The greatest number of rates that are tried."""
        return len(self.rates)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogUniform:
    """Rates between two bounds, searched on a logarithmic scale.

    Attributes:
        trials: Number of rates that are asked for.
        round: How many of them at a time.
    """

    low: float
    high: float
    trials: int
    round: int

    @property
    def max_rates(self) -> int:
        """The greatest number of rates that are tried."""
        return self.trials


LearningRate = Choices | LogUniform

_WITH_SEARCH = " (it goes with log_uniform)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoicesKeys:
    """``learning_rate`` as it is written with ``choices``."""

    choices: tuple[float, ...] = option((1e-3, 1e-4, 1e-5), above=0, doc="the rates; each is tried")
    until_solved: bool = option(
        False, doc="rates one after the other as listed, each on all seeds, until one has solved the cell on every seed"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogUniformKeys:
    """``learning_rate`` as it is written with ``log_uniform``."""

    log_uniform: tuple[float, ...] = option(above=0, length=2, doc="lowest and highest rate, searched by TPE")
    trials: int = option(at_least=1, doc="number of rates to ask for")
    round: int = option(4, at_least=1, doc="rates asked for at a time")


def read_learning_rate(node: Node | None, path: str, faults: Faults) -> Block | None:
    """``learning_rate`` in the form that it is written in; None where it has a fault."""
    mapping = read_mapping(node, path, faults)
    if mapping is None and node is not None:
        return None
    if mapping and {"choices", "log_uniform"} <= set(mapping.entries):
        faults.add(mapping, path, "found both choices and log_uniform; accepted: one of them")
        return None
    elsewhere = {"until_solved": " (it goes with choices)", "trials": _WITH_SEARCH, "round": _WITH_SEARCH}
    return read_block(_form(mapping), mapping, path, faults, elsewhere=elsewhere)


def learning_rate_of(keys: ChoicesKeys | LogUniformKeys) -> LearningRate:
    """What the keys of ``learning_rate`` mean."""
    if isinstance(keys, ChoicesKeys):
        return Choices(rates=keys.choices, until_solved=keys.until_solved)
    low, high = keys.log_uniform
    return LogUniform(low=low, high=high, trials=keys.trials, round=keys.round)


def written_learning_rate(rate: LearningRate) -> dict[str, object]:
    """The learning rate as a grid states it, with every default."""
    if isinstance(rate, Choices):
        return {"choices": list(rate.rates), "until_solved": rate.until_solved}
    return {"log_uniform": [rate.low, rate.high], "trials": rate.trials, "round": rate.round}


def _form(mapping: MappingNode | None) -> type[ChoicesKeys] | type[LogUniformKeys]:
    if mapping and "choices" not in mapping.entries and {"log_uniform", "trials", "round"} & set(mapping.entries):
        return LogUniformKeys
    return ChoicesKeys
