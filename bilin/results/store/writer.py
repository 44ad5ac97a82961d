"""The single writer of a sweep's results."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from bilin.errors import StoreError
from bilin.record import TrialResult
from bilin.results.store.durable import explained, replace_file, sync
from bilin.results.store.holder import SweepLock
from bilin.results.store.manifest import Manifest, Part, sealed, write_manifest
from bilin.results.store.mend import mend
from bilin.results.store.parts.compaction import merge, mergeable
from bilin.results.store.parts.files import read_columns, write_part
from bilin.results.store.parts.rows import curves_table, trials_table
from bilin.results.store.paths import GRID, WANTED, sweep_directory
from bilin.results.store.wanted import WantedRow, encode_wanted
from bilin.results.store.whole import checksum, checksum_of, fault
from bilin.spec import TrialSpec

_GRACE_S = 10.0
"""How long files that were merged stay, for readers that have just read the manifest before."""


class SweepWriter:
    """Writes the results of one sweep, as the only process to do so; its methods may be called from any thread.

    A crash at any instant loses nothing that `append` returned from and doubles nothing: what is written
    counts from the one moment in which the manifest is replaced.

    Args:
        store: Directory of the store; created on entry.
        sweep: Name of the sweep.
        command: What runs, for the message to a second writer.
        stays: Whether the sweep's folder stays where nothing was begun, since other things are kept in it.

    Warns:
        DamageWarning: On entry, of each damaged file that was set aside.
        WaitWarning: On entry, where a process on another machine may be dead or not; that takes a minute.

    Raises:
        SweepRunningError: On entry, where another process writes the sweep.
        StoreError: The name is none of a sweep; or, on entry and from every method, the system does not let the
            sweep be written, or another process has taken it over, and then nothing more is written.
    """

    def __init__(self, store: Path | str, sweep: str, *, command: str = "bilin", stays: bool = False) -> None:
        self.directory = sweep_directory(store, sweep)
        self._lock = SweepLock(self.directory, command)
        self._exit = ExitStack()
        self._turn = threading.RLock()
        self._failed: StoreError | None = None
        self._is_new = False
        self._stays = stays
        self._manifest = Manifest()
        self._merged: list[tuple[float, Path]] = []

    def __enter__(self) -> Self:
        self._is_new = not self.directory.exists() and not self._stays
        with explained(self.directory, "written"), ExitStack() as stack:
            self.directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(self._lock)
            self._manifest = mend(self.directory)
            sync(self.directory.parent)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        not_begun = kind is not None and self._is_new and not (self.directory / GRID).exists()
        with self._exit, suppress(OSError):  # the next writer removes what is left
            self._remove_merged(older_than_s=0.0)
            if not_begun:  # it leaves nothing; while the lock is held, or it could be another launch's folder
                shutil.rmtree(self.directory)
        if not_begun:
            with suppress(OSError):  # network file systems keep a folder until the files in it are closed
                self.directory.rmdir()

    def append(self, pairs: Sequence[tuple[TrialSpec, TrialResult]]) -> None:
        """Store results, durable on return; a trial that is stored already is superseded."""
        last = {result.trial_id: (spec, result) for spec, result in pairs}
        if not last:
            return
        kept = list(last.values())
        trials, curves = trials_table(kept), curves_table(result for _, result in kept)
        with self._writing():
            part = write_part(self.directory, self._manifest.next_number, trials, curves)
            self._commit([*self._manifest.parts, part])
            if count := mergeable(self._manifest.parts):
                self._merge(count)

    def delete(self, trial_ids: Collection[str]) -> None:
        """Remove trials and their curves, durable on return."""
        with self._writing():
            parts: list[Part] = []
            number = self._manifest.next_number
            later: set[str] = set()
            for part in reversed(self._manifest.parts):
                column = read_columns(part.trials_path(self.directory), ["trial_id"])["trial_id"]
                ids = set(column.to_pylist())
                if not ids.isdisjoint(trial_ids):
                    # with a number beyond the later parts', it must not have what they supersede
                    part = merge(self.directory, [part], number, without={*trial_ids, *later})
                    number += 1
                parts += [part] if part.trials else []
                later |= ids
            if number > self._manifest.next_number:
                self._commit(parts[::-1], next_number=number)

    def compact(self) -> int:
        """Merge all parts into one, durable on return; returns how many there were."""
        with self._writing():
            parts = self._manifest.parts
            if len(parts) > 1:
                self._commit([merge(self.directory, parts, self._manifest.next_number)])
            return len(parts)

    def write_wanted(self, cells: Iterable[WantedRow]) -> None:
        """Replace what the grid wants, in one step."""
        self._replace(self.directory / WANTED, encode_wanted(cells))

    def write_grid(self, text: str) -> None:
        """Replace the resolved grid, in one step."""
        self._replace(self.directory / GRID, text.encode())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One thread at a time, and none after a write that failed: what is on disk then is not known."""
        with self._turn:
            if self._failed is not None:
                raise StoreError(str(self._failed))
            try:
                with explained(self.directory, "written"):
                    self._lock.check()
                    yield
            except StoreError as error:
                self._failed = error
                raise

    def _replace(self, path: Path, content: bytes) -> None:
        """Replace a file; both checksums are listed before, so that it is whole at any instant."""
        with self._writing():
            before = (checksum_of(path),) if path.exists() else ()
            after = checksum(content)
            if before == (after,):
                return
            checksums = {**self._manifest.checksums, path.name: (after, *before)}
            self._publish(replace(self._manifest, checksums=checksums))
            replace_file(path, content)

    def _merge(self, count: int) -> None:
        newest = self._manifest.parts[-count:]
        if any(fault(path, self._manifest.of(path)) for part in newest for path in part.paths(self.directory)):
            self._manifest = mend(self.directory)
            return
        try:
            part = merge(self.directory, newest, self._manifest.next_number)
        except OSError:
            return  # a disk that is nearly full takes the small parts that are appended, and no large one
        self._commit([*self._manifest.parts[:-count], part])

    def _commit(self, parts: Sequence[Part], *, next_number: int | None = None) -> None:
        before = self._manifest
        number = next_number or before.next_number + 1
        sync(self.directory)
        self._publish(sealed(self.directory, replace(before, parts=tuple(parts), next_number=number)))
        kept = set(parts)
        now = time.monotonic()
        gone = [path for part in before.parts if part not in kept for path in part.paths(self.directory)]
        self._merged += [(now, path) for path in gone]
        self._remove_merged(older_than_s=_GRACE_S)

    def _publish(self, manifest: Manifest) -> None:
        write_manifest(self.directory, manifest)
        self._manifest = manifest

    def _remove_merged(self, *, older_than_s: float) -> None:
        until = time.monotonic() - older_than_s
        for _, path in (old := [item for item in self._merged if item[0] <= until]):
            path.unlink(missing_ok=True)
        del self._merged[: len(old)]
