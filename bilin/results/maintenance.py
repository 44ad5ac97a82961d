"""Maintenance of sweeps: remove trials, merge parts, look for damage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from bilin.errors import StoreError
from bilin.folder import SweepFolder
from bilin.results.export import output_file
from bilin.results.schema import CURVES, trials_schema
from bilin.results.sql.query import query
from bilin.results.store.contents import Contents, begun, existing_sweep, read_sweeps, stored, sweep_folders
from bilin.results.store.durable import UNREADABLE, damaged_lines, explained, read_fault, read_lines
from bilin.results.store.manifest import Part
from bilin.results.store.parts import validate_file
from bilin.results.store.writer import SweepWriter
from bilin.units import plural


def delete(
    store: Path | str,
    where: str,
    *,
    sweep: str | None = None,
    everything: bool = False,
    dry_run: bool = False,
) -> pa.Table:
    """Remove the trials that `query` finds, with their curves and weights; the next launch runs them again.

    The condition is SQL over the view `trials`. Returns the rows that were removed, or with `dry_run` would be.

    Raises:
        QueryError: The condition is not valid.
        StoreError: The store or sweep does not exist, or cannot be read.
        SweepRunningError: A sweep with such rows is being written; nothing was removed from any sweep.
    """
    rows = query(store=store, view="trials", where=where, sweep=sweep, everything=everything).to_arrow()
    if not dry_run:
        remove(store, rows)
    return rows


def remove(store: Path | str, rows: pa.Table) -> None:
    """Remove the trials of some rows of the view `trials`, and no others. Raises as `delete` does."""
    trials: dict[str, list[str]] = {}
    for sweep, trial_id in zip(rows["sweep"].to_pylist(), rows["trial_id"].to_pylist(), strict=True):
        trials.setdefault(sweep, []).append(trial_id)
    with _writers(store, trials, "bilin results delete") as writers:
        for sweep, writer in writers.items():
            writer.delete(trials[sweep])


def copy_weights(store: Path | str, sweep: str, trial_id: str, output: Path | str) -> None:
    """Copy the final weights of a trial to a file, in the format safetensors; `bilin.load_model` reads it.

    Raises:
        StoreError: The sweep does not exist, or keeps no weights of the trial.
        InputError: The file cannot be written.
    """
    existing_sweep(store, sweep)
    trial = stored(store, sweep).get(trial_id)
    if trial is None or trial.weights is None:
        raise StoreError(
            f"sweep {sweep!r} keeps no weights of trial {trial_id}; keep_weights in its grid says which it keeps. "
            f"To get them, train it again in another store: `bilin sweep show {trial_id}` says how"
        )
    with explained(trial.weights, "read"):
        content = trial.weights.read_bytes()
    with output_file(Path(output)) as file:
        file.write(content)


def compact(store: Path | str, sweep: str | None = None) -> Mapping[str, int]:
    """Merge all parts of a sweep, or of each sweep, into one, and return how many parts each had.

    Raises:
        StoreError: The store or sweep does not exist, or cannot be read or written.
        SweepRunningError: A sweep is being written; no sweep was changed.
    """
    sweeps = [folder.name for folder in sweep_folders(store, [sweep] if sweep else ())]
    with _writers(store, sweeps, "bilin results compact") as writers:
        return {name: writer.compact() for name, writer in writers.items()}


@contextmanager
def _writers(store: Path | str, sweeps: Iterable[str], command: str) -> Iterator[Mapping[str, SweepWriter]]:
    """Open writers of several sweeps, or of none."""
    with ExitStack() as stack:
        yield {sweep: stack.enter_context(SweepWriter(store, sweep, command=command, exists=True)) for sweep in sweeps}


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What `verify` finds in a sweep.

    It counts the undamaged parts and their rows, and the files that writers set aside earlier; `damage` has a line
    for each damaged file.
    """

    sweep: str
    num_parts: int
    num_trials: int
    num_curves: int
    num_aside: int
    damage: Sequence[str]

    def __str__(self) -> str:
        counts = [plural(self.num_parts, "part"), f"{plural(self.num_trials, 'row')} of trials"]
        aside = [f"{plural(self.num_aside, 'file')} set aside earlier"] if self.num_aside else []
        state = f"{self.sweep}: {'damaged' if self.damage else 'undamaged'}"
        return ", ".join([state, *counts, f"{self.num_curves} of curves", *aside])


def verify(store: Path | str, sweep: str | None = None) -> list[Health]:
    """Read every value of every file of a sweep that counts, or of all, and check the files against each other.

    Raises:
        StoreError: The store or sweep does not exist, or the system does not let it be read.
    """
    found: dict[str, Health] = {}
    while True:
        folders = sweep_folders(store, [sweep] if sweep else ())
        new = [folder for folder in folders if folder.name not in found]
        if not new:  # nothing was renamed meanwhile
            return [found[folder.name] for folder in folders]
        for folder in new:
            found |= read_sweeps(begun(folder), _healths, curves=True, warn=False)


def _healths(sweeps: Sequence[Contents]) -> dict[str, Health]:
    return {sweep.folder.name: _health(sweep) for sweep in sweeps}


def _health(sweep: Contents) -> Health:
    parts, aside = sweep.manifest.parts, sweep.folder.damaged
    with explained(sweep.folder.path, "read"):
        _, damaged = read_lines(sweep.folder.asked)
    of_asked = [damaged_lines(sweep.folder, damaged)] if damaged else []
    return Health(
        sweep=sweep.folder.name,
        num_parts=len(parts),
        num_trials=sum(part.trials for part in parts),
        num_curves=sum(part.curves for part in parts),
        num_aside=sum(1 for _ in aside.iterdir()) if aside.is_dir() else 0,
        damage=[
            *map(str, sweep.damage),
            *of_asked,
            *(line for part in parts for line in _contradictions(sweep.folder, part)),
        ],
    )


def _contradictions(folder: SweepFolder, part: Part) -> Iterator[str]:
    """Yield what is wrong with a part whose checksums match."""
    trials, curves = folder.trials_part(part.number), folder.curves_part(part.number)
    try:
        ids = validate_file(trials, trials_schema())["trial_id"]
        curve_ids = validate_file(curves, CURVES)["trial_id"] if part.curves else ids.slice(0, 0)
    except UNREADABLE as error:
        yield f"the part of {trials} {read_fault(error)}"
        return
    for path, found, listed in ((trials, len(ids), part.trials), (curves, len(curve_ids), part.curves)):
        if found != listed:
            yield f"{path} has {plural(found, 'row')}, and the manifest lists {listed}"
    if len(pc.unique(ids)) < len(ids):
        yield f"{trials} has a trial twice"
    if not pc.all(pc.is_in(curve_ids, value_set=ids.combine_chunks()), min_count=0).as_py():
        yield f"{curves} has curves of trials that are not in {trials.name}"
