"""The learning rates that the searches of a sweep have asked for, in a file of the sweep's folder.

A line is one JSON object: a cell, and the learning rates of a round. It is written before the first trial of the round
starts. Lines are only added; one that was not completed, as when the disk was full, is skipped. If the file or its last
lines are missing, the learning rates of the stored trials count as asked for, so no result is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from bilin.folder import SweepFolder
from bilin.results.store.durable import explained

Asked = Mapping[str, Sequence[float]]
"""The learning rates that were asked for in each cell, by its id, in the order of asking."""


def read_asked(folder: SweepFolder) -> Asked:
    """Return the learning rates that the searches of a sweep have asked for.

    Raises:
        StoreError: The system does not let the file be read.
    """
    with explained(folder.path, "read"):
        lines = folder.asked.read_bytes().splitlines() if folder.asked.exists() else []
    asked: dict[str, dict[float, None]] = {}
    for cell_id, lrs in filter(None, map(_parse, lines)):
        asked.setdefault(cell_id, {}).update(dict.fromkeys(lrs))
    return {cell_id: tuple(lrs) for cell_id, lrs in asked.items()}


class AskedFile:
    """Adds to the file; only the process that writes the sweep does."""

    def __init__(self, folder: SweepFolder) -> None:
        self._folder = folder
        self._asked = {cell_id: set(lrs) for cell_id, lrs in read_asked(folder).items()}

    def add(self, asked: Asked) -> None:
        """Add the learning rates that the file does not have.

        Raises:
            StoreError: The system does not let the file be written.
        """
        lines = [json.dumps({"cell": cell_id, "lrs": lrs}) + "\n" for cell_id, lrs in self._new(asked)]
        if not lines:
            return
        with explained(self._folder.path, "written"), self._folder.asked.open("a+b") as file:
            if file.tell() and file.seek(-1, 2) and file.read() != b"\n":
                file.write(b"\n")  # the last line was not completed
            file.write("".join(lines).encode())

    def _new(self, asked: Asked) -> Iterator[tuple[str, list[float]]]:
        for cell_id, lrs in asked.items():
            known = self._asked.setdefault(cell_id, set())
            if new := [lr for lr in lrs if lr not in known]:
                known.update(new)
                yield cell_id, new


def _parse(line: bytes) -> tuple[str, list[float]] | None:
    try:
        values = json.loads(line)
        return str(values["cell"]), [float(lr) for lr in values["lrs"]]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
