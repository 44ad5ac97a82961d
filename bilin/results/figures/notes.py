"""What stands below a figure: what its numbers, bands and marks are, and how many seeds they are of."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bilin.results.statistics import Statistic
from bilin.units import plural

_KEY = b"note"

_MAX_NAMED = 6

_BAND = re.compile(r", band: [^;(]+(?= \()")


def with_note(kind: str, data: pa.Table, statistic: Statistic) -> pa.Table:
    """Return the numbers behind a figure with its note in the metadata of their schema."""
    note = "; ".join(filter(None, _NOTES[kind](data, statistic)))
    return data.replace_schema_metadata({_KEY: note.encode()})


def note_of(data: pa.Table, *, has_bands: bool = True) -> str:
    """Return the note of a figure, with what its bands are or without, given its numbers; empty if they have none."""
    note = (data.schema.metadata or {}).get(_KEY, b"").decode()
    return note if has_bands else _BAND.sub("", note)


def _by_length(data: pa.Table, statistic: Statistic) -> list[str]:
    return [_of_seeds(data, statistic), _without_number(data)]


def _by_model(data: pa.Table, statistic: Statistic) -> list[str]:
    num_places = len(pc.unique(data["model"])) * len(pc.unique(data["task"]))
    has_number = pc.or_(pc.is_valid(data["value"]), data["failed"])
    is_hatched = num_places > data.num_rows or not pc.all(has_number).as_py()
    return [
        _of_seeds(data, statistic, has_band=False),
        "hatched: no result" if is_hatched else "",
        "×: every trial failed or diverged" if _any(data["failed"]) else "",  # noqa: RUF001
    ]


def _by_rate(data: pa.Table, statistic: Statistic) -> list[str]:
    is_lost = _any(pc.greater(data["num_lost"], 0))
    return [_of_seeds(data, statistic), "a trial that diverged or failed counts as 0" if is_lost else ""]


def _by_size(data: pa.Table, statistic: Statistic) -> list[str]:
    lengths = set(data["length"].to_pylist())
    at = f"length {lengths.pop()}" if len(lengths) == 1 else "the longest tested length of each task"
    return [at, _of_seeds(data, statistic), _without_number(data)]


def _by_step(data: pa.Table, statistic: Statistic) -> list[str]:
    return ["at the selected learning rate", _of_seeds(data, statistic), "a seed that ended keeps its last value"]


def _by_tier(data: pa.Table, statistic: Statistic) -> list[str]:  # noqa: ARG001 (all have the same arguments)
    return ["beside each bar the number of trials and their mean time"]


_NOTES: Mapping[str, Callable[[pa.Table, Statistic], list[str]]] = {
    "length": _by_length,
    "heatmap": _by_model,
    "lr": _by_rate,
    "size": _by_size,
    "training": _by_step,
    "cost": _by_tier,
}


def _of_seeds(data: pa.Table, statistic: Statistic, *, has_band: bool = True) -> str:
    counts = {count for count in data["num_seeds"].to_pylist() if count}
    if not counts:
        return ""
    if counts == {1}:
        return "one seed"
    low, high = min(counts), max(counts)
    text = f"{statistic.number} of {'' if low == high else f'{low} to '}{plural(high, 'seed')}"
    if has_band and statistic.interval:
        text += f", band: {'± ' if statistic.is_symmetric else ''}{statistic.interval}"
    return f"{text} ({statistic})"


def _without_number(data: pa.Table) -> str:
    """Name the models that have no number, and so no line."""
    rows: list[dict[str, Any]] = data.select(["model", "value"]).to_pylist()
    drawn = {row["model"] for row in rows if row["value"] is not None}
    missing = list(dict.fromkeys(row["model"] for row in rows if row["model"] not in drawn))
    more = len(missing) - _MAX_NAMED
    names = ", ".join(missing[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"no result: {names}" if missing else ""


def _any(column: Any) -> bool:
    return bool(pc.any(column).as_py())
