"""The single writer of a sweep's results, and the repair of a sweep's folder before it writes."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa

from bilin.errors import StoreError
from bilin.folder import SweepFolder, missing_folders, partial_of, remove_empty
from bilin.record import TrialResult
from bilin.results.store.contents import Contents, existing_sweep, read_contents
from bilin.results.store.durable import Checksum, explained, file_fault, replace_file, sync
from bilin.results.store.lock import SweepLock
from bilin.results.store.manifest import Manifest, Part, write_manifest
from bilin.results.store.parts import merge, num_mergeable, read_columns, tested_again, with_unlisted_parts, write_part
from bilin.results.store.rows import WantedRow, curves_table, encode_wanted, trials_table
from bilin.results.store.sharing import read_shared
from bilin.spec import TrialSpec

_GRACE_S = 10.0
"""How long merged files stay, for readers that have just read the previous manifest."""


class SweepWriter:
    """Writes the results of one sweep, as the only process that does. Its methods may be called from any thread.

    A crash at any moment neither loses results for which `append` has returned nor stores any twice: results are
    stored from the moment the manifest is replaced. On exit, every trial is left with one row in the part files, so
    that other tools may read them as they are.

    Args:
        store: Directory of the store; created on entry.
        sweep: Name of the sweep.
        command: What this process runs, for the message to a second writer.
        exists: Refuse a sweep that does not exist, which may have been renamed.
        stays: Keep a new sweep folder even if the writer ends with an error before it has written a grid.

    Attributes:
        num_taken_over: How many trials were copied from each other sweep.

    Warns:
        DamageWarning: On entry, for each damaged file that was set aside.
        WaitWarning: On entry, if a process on another machine may still write the sweep; it waits for a minute.

    Raises:
        SweepRunningError: On entry, if another process writes the sweep.
        StoreError: The name is not that of a sweep, or not of one that ``exists``; or, on entry and from every method,
            the sweep cannot be written, or another process has taken it over. After that, the writer writes nothing
            more.
    """

    def __init__(
        self, store: Path | str, sweep: str, *, command: str = "bilin", exists: bool = False, stays: bool = False
    ) -> None:
        self.folder = SweepFolder.of(store, sweep)
        self.num_taken_over: Counter[str] = Counter()
        self._lock = SweepLock(self.folder, command)
        self._exit = ExitStack()
        self._mutex = threading.RLock()
        self._failed: StoreError | None = None
        self._exists = exists
        self._made: list[Path] = []  # folders
        self._is_new = False
        self._stays = stays
        self._manifest = Manifest()
        self._merged: list[tuple[float, Path]] = []

    def __enter__(self) -> Self:
        directory = self.folder.path
        if self._exists:
            existing_sweep(self.folder.store, self.folder.name)
        self._made = missing_folders(directory)
        is_unused = directory in self._made or all(path == self.folder.jobs for path in directory.iterdir())
        self._is_new = is_unused and not self._stays
        with explained(directory, "written"), ExitStack() as stack:
            if not self._exists:
                directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(self._lock)
            self._manifest = _repair(self.folder)
            sync(directory.parent)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        not_begun = kind is not None and self._is_new and not self.folder.grid.exists()
        if not not_begun:
            with suppress(StoreError):  # a full disk, or another process has taken the sweep over
                self._drop_superseded()
        with self._exit, suppress(OSError):  # the next writer removes what is left
            self._remove_merged(older_than_s=0.0)
            if not_begun:  # while the lock is held: later, the folder could be that of another launch
                for path in set(self.folder.path.iterdir()) - {self.folder.jobs}:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not_begun:  # after the lock: network file systems keep a folder until the files in it are closed
            with suppress(OSError):  # it has the output of a detached launch, or there is none
                self.folder.jobs.rmdir()
            remove_empty(self._made)

    def append(self, pairs: Sequence[tuple[TrialSpec, TrialResult]]) -> None:
        """Store results, durable on return. A result supersedes that of the same trial."""
        newest = {result.trial_id: (spec, result) for spec, result in pairs}
        if not newest:
            return
        trials = trials_table(list(newest.values()))
        curves = curves_table(result for _, result in newest.values())
        self._add(trials, curves)

    def take_over(self, sweep: str, trial_ids: Collection[str]) -> int:
        """Copy trials of another sweep of the store, with curves and weights; durable on return.

        Returns:
            How many of them it has.

        Raises:
            StoreError: As all methods do, or the other sweep cannot be read.
        """
        source = SweepFolder.of(self.folder.store, sweep)
        trials, curves = read_shared(source, trial_ids)
        if trials.num_rows:
            with self._writing():
                started_us = trials["started_at"].cast(pa.int64()).to_pylist()
                self.folder.copy_weights(source, zip(trials["trial_id"].to_pylist(), started_us, strict=True))
            self._add(trials, curves)
            self.num_taken_over[sweep] += trials.num_rows
        return int(trials.num_rows)

    def rename(self, sweep: str) -> None:
        """Give the sweep another name, in one step.

        Raises:
            StoreError: As all methods do, or the name is that of another sweep, or of none.
        """
        target = SweepFolder.of(self.folder.store, sweep)
        if target.path.exists():
            raise StoreError(f"{target.path} exists: choose another name, or move it away")
        with self._writing():
            self.folder.path.rename(target.path)
            sync(target.store)
            self._lock.moved(target)
            self.folder = target

    def _add(self, trials: pa.Table, curves: pa.Table) -> None:
        with self._writing():
            part = write_part(self.folder, self._manifest.next_number, trials, curves)
            self._commit([*self._manifest.parts, part])
            if count := num_mergeable(self._manifest.parts):
                self._merge(count)

    def add_tests(self, pairs: Sequence[tuple[TrialSpec, TrialResult]]) -> None:
        """Add the lengths of some results to the rows of their trials, durable on return.

        A new row replaces the one before, with everything else that it has. A trial without a row gets none.
        """
        results = {result.trial_id: (spec, result) for spec, result in pairs}
        with self._writing():
            parts, number = [*self._manifest.parts], self._manifest.next_number
            for part in reversed(self._manifest.parts):
                if results and (found := tested_again(self.folder, part, results)):
                    parts.append(write_part(self.folder, number, *found))
                    results = {key: results[key] for key in results.keys() - set(found[0]["trial_id"].to_pylist())}
                    number += 1
            if number > self._manifest.next_number:
                self._commit(parts, next_number=number)

    def delete(self, trial_ids: Collection[str]) -> None:
        """Remove trials with their curves and weights, durable on return."""
        with self._writing():
            parts: list[Part] = []
            number = self._manifest.next_number
            in_later_parts: set[str] = set()
            for part in reversed(self._manifest.parts):
                ids = set(read_columns(self.folder.trials_part(part.number), ["trial_id"])["trial_id"].to_pylist())
                if not ids.isdisjoint(trial_ids):
                    # the new part gets a higher number than later parts: leave out rows that those replace
                    part = merge(self.folder, [part], number, without={*trial_ids, *in_later_parts})
                    number += 1
                parts += [part] if part.trials else []
                in_later_parts |= ids
            if number > self._manifest.next_number:
                self._commit(parts[::-1], next_number=number)
            self.folder.drop_weights(trial_ids)

    def _drop_superseded(self) -> None:
        """Write again, without them, the parts that have rows which later parts supersede."""
        with self._writing():
            before = self._manifest.parts
            ids = [read_columns(self.folder.trials_part(part.number), ["trial_id"])["trial_id"] for part in before]
            newest = {trial: index for index, trials in enumerate(ids) for trial in trials.to_pylist()}
            if len(newest) == sum(map(len, ids)) or self._is_damaged(before):
                return
            parts, number = list[Part](), self._manifest.next_number
            for index, (part, trials) in enumerate(zip(before, ids, strict=True)):
                superseded = {trial for trial in trials.to_pylist() if newest[trial] != index}
                if superseded:
                    part = merge(self.folder, [part], number, without=superseded)
                    number += 1
                parts += [part] if part.trials else []
            self._commit(parts, next_number=number)

    def compact(self) -> int:
        """Merge all parts into one, durable on return, and return how many there were."""
        with self._writing():
            parts = self._manifest.parts
            if len(parts) > 1:
                self._commit([merge(self.folder, parts, self._manifest.next_number)])
            return len(parts)

    def write_wanted(self, cells: Iterable[WantedRow]) -> None:
        """Replace what the grid wants, in one step."""
        self._replace(self.folder.wanted, encode_wanted(cells))

    def write_grid(self, text: str) -> None:
        """Replace the resolved grid, in one step."""
        self._replace(self.folder.grid, text.encode())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Allow one thread at a time, and none after a failure, when the state on disk is unknown."""
        with self._mutex:
            if self._failed is not None:
                raise StoreError(str(self._failed))
            try:
                with explained(self.folder.path, "written"):
                    self._lock.check()
                    yield
            except StoreError as error:
                self._failed = error
                raise

    def _replace(self, path: Path, content: bytes) -> None:
        """Replace a file. The manifest first accepts both checksums, so the file is never taken for damaged."""
        with self._writing():
            before = (Checksum.of_file(path),) if path.exists() else ()
            after = Checksum.of(content)
            if before == (after,):
                return
            checksums = {**self._manifest.checksums, path.name: (after, *before)}
            self._publish(replace(self._manifest, checksums=checksums))
            replace_file(path, content)

    def _merge(self, count: int) -> None:
        newest = self._manifest.parts[-count:]
        if self._is_damaged(newest):
            self._manifest = _repair(self.folder)
            return
        try:
            part = merge(self.folder, newest, self._manifest.next_number)
        except OSError:
            return  # a disk that is almost full has room for small parts, not for a large one
        self._commit([*self._manifest.parts[:-count], part])

    def _is_damaged(self, parts: Iterable[Part]) -> bool:
        paths = [path for part in parts for path in part.paths(self.folder)]
        return any(file_fault(path, self._manifest.checksums_of(path)) for path in paths)

    def _commit(self, parts: Sequence[Part], *, next_number: int | None = None) -> None:
        before = self._manifest
        manifest = replace(before, parts=tuple(parts), next_number=next_number or before.next_number + 1)
        sync(self.folder.path)
        self._publish(manifest.with_checksums(self.folder))
        now, remaining = time.monotonic(), set(parts)
        replaced = [part for part in before.parts if part not in remaining]
        self._merged += [(now, path) for part in replaced for path in part.paths(self.folder)]
        self._remove_merged(older_than_s=_GRACE_S)

    def _publish(self, manifest: Manifest) -> None:
        write_manifest(self.folder, manifest)
        self._manifest = manifest

    def _remove_merged(self, *, older_than_s: float) -> None:
        until = time.monotonic() - older_than_s
        old = [path for merged_at, path in self._merged if merged_at <= until]
        for path in old:
            path.unlink(missing_ok=True)
        del self._merged[: len(old)]


def _repair(folder: SweepFolder) -> Manifest:
    """Set damaged files aside, list finished parts that are not listed, and remove what merges left behind.

    A damaged file is moved while the manifest still lists it: after a crash in between, the next writer knows of it.
    Only the writer may call this.

    Returns:
        The manifest, which is on disk.

    Warns:
        DamageWarning: For each file that was set aside.
    """
    try:
        contents = read_contents(folder)
    except FileNotFoundError:
        contents = Contents(folder=folder, manifest=Manifest(), wanted=None, grid=None, damage=())
    for damage in contents.damage:
        for path in (damage.path, *damage.others):
            _set_aside(path, folder)
        damage.warn(set_aside=True)
    extended, _ = with_unlisted_parts(folder, contents.manifest)
    manifest = extended.with_checksums(folder)
    if contents.damage or manifest != contents.manifest or not folder.manifest.exists():
        sync(folder.path)
        write_manifest(folder, manifest)
    listed = set(manifest.paths(folder))
    leftovers = [path for _, path in folder.part_files() if path not in listed]
    partial = [partial_of(path) for path in (folder.manifest, folder.wanted, folder.grid)]
    for path in [*leftovers, *partial]:
        path.unlink(missing_ok=True)
    return manifest


def _set_aside(path: Path, folder: SweepFolder) -> None:
    folder.damaged.mkdir(exist_ok=True)
    target, count = folder.damaged / path.name, 1
    while target.exists():
        count += 1
        target = folder.damaged / f"{path.name}.{count}"
    if path.exists():
        path.rename(target)
        sync(folder.damaged)
