"""The points that the searches of a sweep have asked for, in a file of the sweep's folder.

Each line is one JSON object: the id of a cell, the points of one round, and a checksum. A line is on disk before the
first trial of its round starts. Lines are only added. An incomplete line, for example after a full disk, is removed. If
lines are damaged or missing, the points of stored trials count as asked, so no result is lost.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bilin.errors import DamageWarning
from bilin.folder import SweepFolder
from bilin.results.store.durable import checked_line, damaged_lines, explained, read_lines
from bilin.spec import Point

Asked = Mapping[str, Sequence[Point]]
"""The points that were asked for in each cell, by its id, in the order of asking."""


def read_asked(folder: SweepFolder) -> Asked:
    """Return the points that the searches of a sweep have asked for; warn of damaged lines.

    Raises:
        StoreError: The system does not let the file be read.
    """
    with explained(folder.path, "read"):
        lines, damaged = read_lines(folder.asked)
    if damaged:
        warnings.warn(damaged_lines(folder, damaged), DamageWarning, stacklevel=2)
    asked: dict[str, dict[Point, None]] = {}
    for cell_id, points in filter(None, map(_parse, lines)):
        asked.setdefault(cell_id, {}).update(dict.fromkeys(points))
    return {cell_id: tuple(points) for cell_id, points in asked.items()}


class AskedFile:
    """Adds to the file; only the process that writes the sweep does."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._asked = {cell_id: set(points) for cell_id, points in read_asked(folder).items()}

    def add(self, asked: Asked) -> None:
        """Add the points that the file does not have.

        Raises:
            StoreError: The system does not let the file be written.
        """
        lines = [checked_line({"cell": cell_id, **_plain(points)}) for cell_id, points in self._new(asked)]
        if not lines:
            return
        with explained(self._folder.path, "written"), self._folder.asked.open("a+b") as file:
            if file.tell() and file.seek(-1, 2) and file.read() != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)  # the last line was not completed
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())

    def _new(self, asked: Asked) -> Iterator[tuple[str, list[Point]]]:
        for cell_id, points in asked.items():
            known = self._asked.setdefault(cell_id, set())
            if new := [point for point in points if point not in known]:
                known.update(new)
                yield cell_id, new


def _plain(points: Sequence[Point]) -> dict[str, object]:
    if any(point.searched for point in points):
        return {"points": [{"lr": point.lr, **dict(point.searched)} for point in points]}
    return {"lrs": [point.lr for point in points]}


def _parse(values: Mapping[str, Any]) -> tuple[str, list[Point]] | None:
    try:
        points = values["points"] if "points" in values else [{"lr": lr} for lr in values["lrs"]]
        numbers = [{name: float(value) for name, value in point.items()} for point in points]
        return str(values["cell"]), [Point(point.pop("lr"), tuple(sorted(point.items()))) for point in numbers]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):  # of a later version
        return None
