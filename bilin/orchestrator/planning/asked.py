"""The points that the searches of a sweep have asked for, in a file of the sweep's folder.

Each line is one JSON object: the id of a cell and the points of one round. A line is written before the first trial of
its round starts. Lines are only added. An incomplete line, for example after a full disk, is skipped. If lines are
missing, the points of stored trials count as asked, so no result is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from bilin.folder import SweepFolder
from bilin.results.store.durable import explained
from bilin.spec import Point

Asked = Mapping[str, Sequence[Point]]
"""The points that were asked for in each cell, by its id, in the order of asking."""


def read_asked(folder: SweepFolder) -> Asked:
    """Return the points that the searches of a sweep have asked for.

    Raises:
        StoreError: The system does not let the file be read.
    """
    with explained(folder.path, "read"):
        lines = folder.asked.read_bytes().splitlines() if folder.asked.exists() else []
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
        lines = [json.dumps({"cell": cell_id, **_plain(points)}) + "\n" for cell_id, points in self._new(asked)]
        if not lines:
            return
        with explained(self._folder.path, "written"), self._folder.asked.open("a+b") as file:
            if file.tell() and file.seek(-1, 2) and file.read() != b"\n":
                file.write(b"\n")  # the last line was not completed
            file.write("".join(lines).encode())

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


def _parse(line: bytes) -> tuple[str, list[Point]] | None:
    try:
        values = json.loads(line)
        points = values["points"] if "points" in values else [{"lr": lr} for lr in values["lrs"]]
        numbers = [{name: float(value) for name, value in point.items()} for point in points]
        return str(values["cell"]), [Point(point.pop("lr"), tuple(sorted(point.items()))) for point in numbers]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
