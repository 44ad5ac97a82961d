"""The single writer of a sweep's results."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from bilin.record import TrialResult
from bilin.results.store.compaction import merge, mergeable
from bilin.results.store.durable import BESIDE, sync
from bilin.results.store.lock import SweepLock
from bilin.results.store.manifest import Manifest, Part, read_manifest, write_manifest
from bilin.results.store.parts import read_columns, write_part
from bilin.results.store.paths import MANIFEST, sweep_directory
from bilin.results.store.rows import curves_table, trials_table
from bilin.results.store.wanted import WantedRow, write_grid, write_wanted
from bilin.spec import TrialSpec

_GRACE_S = 10.0
"""How long files that were merged stay, for readers that have just read the manifest before."""


class SweepWriter:
    """Writes the results of one sweep, as the only process to do so.

    A crash at any instant loses nothing that `append` returned from and doubles nothing: what is written
    counts from the one moment in which the manifest is replaced.

    Args:
        store: Directory of the store; created on entry.
        sweep: Name of the sweep.
        command: What runs, for the message to a second writer.

    Raises:
        SweepRunningError: On entry, where another process writes the sweep.
        StoreError: The name is none of a sweep, or what is there cannot be read.
    """

    def __init__(self, store: Path | str, sweep: str, *, command: str = "bilin") -> None:
        self.directory = sweep_directory(store, sweep)
        self._command = command
        self._exit = ExitStack()
        self._manifest = Manifest()
        self._merged: list[tuple[float, Path]] = []

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(SweepLock(self.directory, self._command))
            self._manifest = read_manifest(self.directory)
            if not (self.directory / MANIFEST).exists():
                write_manifest(self.directory, self._manifest)
                sync(self.directory.parent)
            self._remove_unlisted()
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._exit:
            self._remove_merged(older_than_s=0.0)

    def append(self, pairs: Sequence[tuple[TrialSpec, TrialResult]]) -> None:
        """Store results, durable on return; a trial that is stored already is superseded."""
        last = {result.trial_id: (spec, result) for spec, result in pairs}
        if not last:
            return
        kept = list(last.values())
        trials, curves = trials_table(kept), curves_table(result for _, result in kept)
        part = write_part(self.directory, self._manifest.next_number, trials, curves)
        self._commit([*self._manifest.parts, part])
        if count := mergeable(self._manifest.parts):
            self._merge(count)

    def delete(self, trial_ids: Collection[str]) -> None:
        """Remove trials and their curves, durable on return."""
        doomed = set(trial_ids)
        parts: list[Part] = []
        number = self._manifest.next_number
        for part in self._manifest.parts:
            ids = read_columns(part.trials_path(self.directory), ["trial_id"])["trial_id"].to_pylist()
            if doomed.isdisjoint(ids):
                parts.append(part)
                continue
            rest = merge(self.directory, [part], number, without=doomed)
            if rest.trials:
                parts.append(rest)
            number += 1
        if number > self._manifest.next_number:
            self._commit(parts, next_number=number)

    def write_wanted(self, cells: Iterable[WantedRow]) -> None:
        """Replace what the grid wants, in one step."""
        write_wanted(self.directory, cells)

    def write_grid(self, text: str) -> None:
        """Replace the resolved grid, in one step."""
        write_grid(self.directory, text)

    def _merge(self, count: int) -> None:
        older, newest = self._manifest.parts[:-count], self._manifest.parts[-count:]
        self._commit([*older, merge(self.directory, newest, self._manifest.next_number)])

    def _commit(self, parts: Sequence[Part], *, next_number: int | None = None) -> None:
        sync(self.directory)
        before = self._manifest
        self._manifest = Manifest(parts=tuple(parts), next_number=next_number or before.next_number + 1)
        write_manifest(self.directory, self._manifest)
        kept = set(parts)
        now = time.monotonic()
        gone = [path for part in before.parts if part not in kept for path in part.paths(self.directory)]
        self._merged += [(now, path) for path in gone]
        self._remove_merged(older_than_s=_GRACE_S)

    def _remove_merged(self, *, older_than_s: float) -> None:
        until = time.monotonic() - older_than_s
        for _, path in (old := [item for item in self._merged if item[0] <= until]):
            path.unlink(missing_ok=True)
        del self._merged[: len(old)]

    def _remove_unlisted(self) -> None:
        listed = {path for part in self._manifest.parts for path in part.paths(self.directory)}
        for pattern in ("trials-*.parquet", "curves-*.parquet", f"*{BESIDE}"):
            for path in self.directory.glob(pattern):
                if path not in listed:
                    path.unlink()
