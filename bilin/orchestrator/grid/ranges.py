"""The range of a searched field, written in place of the field's value: ``weight_decay: {log_uniform: […]}``."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bilin.fields import Field
from bilin.orchestrator.grid.node import YamlNode
from bilin.rules import round_to_digits, values_between

SCALES = ("log_uniform", "uniform")
"""The keys of a range: the scale on which the field is searched."""

SEARCHED_BLOCKS = frozenset({"models", "train"})
"""The keys of a document whose fields can be searched."""

ENDS_A_TRIAL = frozenset({"steps"})
"""Fields that cannot be searched: a longer training would win."""

NUM_STEPS = 1000
"""How many steps there are at most between the values of a uniform range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The values between two bounds, for a learning rate or a field of the model or the training.

    Attributes:
        scale: One of `SCALES`.
        is_integer: Whether the values are whole numbers.
    """

    name: str
    low: float
    high: float
    scale: str = "log_uniform"
    is_integer: bool = False

    @property
    def values(self) -> tuple[float, ...]:
        """The values that a search may ask for: the bounds, and those of three digits between them."""
        return _values(self)

    def at(self, share: float) -> float:
        """Return the value nearest to a share of the way from the lower to the upper bound."""
        is_log = self.scale == "log_uniform"
        value = self.low * (self.high / self.low) ** share if is_log else self.low + (self.high - self.low) * share
        index = bisect_left(self.values, value)
        around = self.values[max(index - 1, 0) : index + 1]
        return min(around, key=lambda near: abs(near - value))

    def distance(self, one: float, other: float) -> float:
        """Return how far apart two values are, as a share of the range."""
        if self.low == self.high:
            return 0.0
        if self.scale == "uniform":
            return abs(one - other) / (self.high - self.low)
        return math.log(max(one / other, other / one)) / math.log(self.high / self.low)

    def __str__(self) -> str:
        return f"{self.name}: {self.low:g} to {self.high:g}{' (log)' if self.scale == 'log_uniform' else ''}"

    def convert(self, value: float) -> int | float:
        """Return a value in the type of the field."""
        return int(value) if self.is_integer else value

    def to_plain(self) -> dict[str, list[float]]:
        """Return what a grid says."""
        return {self.scale: [self.convert(self.low), self.convert(self.high)]}


@lru_cache(256)
def _values(range_: Range) -> tuple[float, ...]:
    low, width = range_.low, range_.high - range_.low
    if range_.scale == "log_uniform":
        values = values_between(low, range_.high)
    else:
        steps = (round_to_digits(low + width * step / NUM_STEPS) for step in range(NUM_STEPS + 1))
        values = (low, *(value for value in steps if low < value < range_.high), range_.high)
    return tuple(sorted({float(round(value)) if range_.is_integer else value for value in values}))


def can_be_searched(field: Field) -> bool:
    """Return whether a field of a model or of the training can have a range: whether it is a number."""
    return (
        field.type in (int, float)
        and not (field.is_list or field.is_mapping or field.choices)
        and field.name not in ENDS_A_TRIAL
    )


def is_range(node: YamlNode) -> bool:
    """Return whether a value is meant as a range."""
    return not node.entries.keys().isdisjoint(SCALES)


def read_range(field: Field, node: YamlNode) -> Range | None:
    """Return the range of a field; None, and a fault, if it is not accepted."""
    form = f"{{log_uniform: [low, high]}} or {{uniform: [low, high]}}, each {field.item.accepted}"
    if not can_be_searched(field):
        why = "it sets the end of a trial" if field.name in ENDS_A_TRIAL else "only numbers are"
        node.fault(f"found {node}, but {field.name} cannot be searched ({why}); accepted: {field.accepted}")
        return None
    scale, *others = node.entries
    bounds = node.key(scale)
    if others or len(bounds.items) != 2:
        node.fault(f"found {node}; accepted: {form}")
        return None
    values = [_bound(field.item, item) for item in bounds.items]
    if None in values:
        return None
    low, high = values
    if scale == "log_uniform" and low <= 0:
        bounds.items[0].fault(f"found {bounds.items[0]}; accepted in log_uniform: numbers above 0, or use uniform")
        return None
    if low > high:
        bounds.fault(f"found {bounds}; accepted: the lowest value, then the highest")
        return None
    return Range(name=field.name, low=low, high=high, scale=scale, is_integer=field.type is int)


def _bound(field: Field, node: YamlNode) -> Any:
    try:
        return field.convert(node.to_plain())
    except ValueError:
        node.refuse(field.accepted)
        return None


def corners(values: Mapping[str, Any], ranges: Mapping[str, Range]) -> Iterator[dict[str, Any]]:
    """Yield the values of a block to check together if some fields are searched; first those at the lower bounds.

    Of a range of whole numbers, each is among them, since some may not divide another field; of others, the bounds.
    """
    for index in (0, -1) if ranges else ():
        bounds = {**values, **{name: range_.convert(range_.values[index]) for name, range_ in ranges.items()}}
        yield bounds
        for name, range_ in ranges.items():
            if range_.is_integer:
                yield from ({**bounds, name: range_.convert(value)} for value in range_.values)
    if not ranges:
        yield dict(values)
