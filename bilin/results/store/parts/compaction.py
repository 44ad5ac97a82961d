"""Keeping the number of files small, as a log-structured merge tree does.

An append makes a part of level 0. When the newest `FAN_IN` parts are of one level they become one part
of the next, so that a row is written again once a level: the cost of an append grows with the logarithm
of the number of appends, and so does the number of files, until parts reach a size that is left alone.

Source: O'Neil, Cheng, Gawlick, O'Neil, "The log-structured merge-tree", Acta Informatica 33 (1996).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from bilin.results.columns import unite
from bilin.results.schema import CURVES, trials_schema
from bilin.results.store.manifest import Part
from bilin.results.store.parts.files import read_columns, read_schema, stream_part, stream_rows

FAN_IN = 16

MAX_BYTES = 64 << 20
"""Parts that would make a larger one are left alone: a merge stops the writer for about a second at most."""


def mergeable(parts: Sequence[Part]) -> int:
    """How many of the newest parts to merge into one; 0 where there is nothing to do."""
    rest = list(parts)
    merged = 0
    while True:
        run = rest[-FAN_IN:]
        total = sum(part.num_bytes for part in run)
        if len(run) < FAN_IN or any(part.level != run[0].level for part in run) or total > MAX_BYTES:
            return merged
        merged = len(parts) - (len(rest) - FAN_IN)
        rest[-FAN_IN:] = [Part(number=0, level=run[0].level + 1, trials=0, curves=0, num_bytes=total)]


def merge(directory: Path, parts: Sequence[Part], number: int, *, without: Collection[str] = ()) -> Part:
    """Write one part with the rows of several, in their order.

    Args:
        directory: The sweep's folder.
        parts: Neighbours, oldest first; a row that a later one supersedes is dropped.
        number: The number of the new part.
        without: Trials to leave out.
    """
    dropped = _dropped(directory, parts, set(without))
    trials = [(part.trials_path(directory), drop) for part, drop in zip(parts, dropped, strict=True)]
    curves = [(part.curves_path(directory), drop) for part, drop in zip(parts, dropped, strict=True) if part.curves]
    level = parts[0].level if len(parts) == 1 else max(part.level for part in parts) + 1
    return stream_part(
        directory,
        number,
        level=level,
        trials=(_rows(trials), _schema(trials, trials_schema())),
        curves=(_rows(curves), _schema(curves, CURVES)),
    )


def _dropped(directory: Path, parts: Sequence[Part], without: set[str]) -> list[list[str]]:
    ids = [read_columns(part.trials_path(directory), ["trial_id"])["trial_id"].to_pylist() for part in parts]
    last = {trial: index for index, trials in enumerate(ids) for trial in trials}
    return [[trial for trial in trials if last[trial] != index or trial in without] for index, trials in enumerate(ids)]


def _rows(files: Sequence[tuple[Path, Sequence[str]]]) -> Iterator[pa.Table]:
    for path, drop in files:
        yield from stream_rows(path, drop)


def _schema(files: Sequence[tuple[Path, Sequence[str]]], known: pa.Schema) -> pa.Schema:
    """The known columns and those that another version of bilin wrote, so that merging loses nothing."""
    return unite([known, *(read_schema(path) for path, _ in files)])
