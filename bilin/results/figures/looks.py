"""The look of a tier in every figure, drawn by matplotlib or by a browser: its colour, dash and marker.

Colours are those of Okabe and Ito, "Color universal design" (2008), which most colour-blind people tell apart.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import NamedTuple

from bilin.models import MODELS

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.5), (1, 1), (5, 1, 1, 1))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h")
_LIGHTEST = 0.6


class Look(NamedTuple):
    """How a line looks.

    Attributes:
        colour: In hexadecimal digits, as ``#0072b2``.
        dash: Lengths of the dashes and the gaps, in widths of the line; none for a solid line.
        marker: A marker of matplotlib.
    """

    colour: str
    dash: tuple[float, ...]
    marker: str


def look(tier: str, index: int = 0, count: int = 1) -> Look:
    """Return the look of a tier; of several of its models, the last has the full colour."""
    tiers = list(MODELS)
    number = tiers.index(tier) if tier in tiers else len(tiers) + zlib.crc32(tier.encode()) % 50
    turn = number // len(_COLOURS)  # each round begins with another colour: `lstm` does not look like `full`
    full = _COLOURS[(number + 6 * turn) % len(_COLOURS)]
    light = _LIGHTEST * (count - 1 - index) / max(1, count - 1)
    parts = (int(full[at : at + 2], 16) for at in (1, 3, 5))
    colour = "#" + "".join(f"{round(part + (255 - part) * light):02x}" for part in parts)
    return Look(colour, _DASHES[turn % len(_DASHES)], _MARKERS[number % len(_MARKERS)])


def looks(models: Iterable[tuple[str, str]]) -> dict[str, Look]:
    """Return the look of each model, the same in every panel, given pairs of tiers and models."""
    of_tier: dict[str, list[str]] = {}
    for tier, model in dict.fromkeys(models):
        of_tier.setdefault(tier, []).append(model)
    return {model: look(tier, index, len(its)) for tier, its in of_tier.items() for index, model in enumerate(its)}
