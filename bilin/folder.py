"""The folder of one sweep: every path in it, who writes it, and when it goes.

    <store>/<sweep>/
    ├── manifest.json             the writer    stays    which part files count, with their checksums
    ├── trials-00000001.parquet   the writer    stays    results, one row a trial; replaced when parts are merged
    ├── curves-00000001.parquet   the writer    stays    their training curves
    ├── wanted.parquet            the writer    stays    the trials that the grid wants, replaced at every launch
    ├── grid.json                 the writer    stays    the resolved grid, replaced at every launch
    ├── damaged/                  the writer    stays    damaged files, set aside for the user to look at
    ├── lock, lease.json          the writer    goes with the process that runs the sweep
    ├── asked.jsonl               the writer    stays    the learning rates that searches asked for, one round a line
    ├── running.json              the launch    goes with the launch: the snapshot of the running sweep
    ├── job.json                  the launch    stays    the Slurm job that was submitted last
    ├── jobs/                     the launch    stays    output and requests of jobs and of detached launches
    ├── checkpoints/              the workers   go with their trials' results
    ├── weights/                  the workers   go with their trials: final weights, a file for each training
    ├── logs/                     the workers   stay     what the trials printed
    └── .seen-*/                  the launch    goes at once: a probe that every node must see

"The writer" is `bilin.results.SweepWriter`, of which there is one at a time. A file is written beside its place,
under its name with `PARTIAL`, and moved there; a reader never sees half a file. Standard library only.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bilin.errors import StoreError

DEFAULT_STORE = Path("bilin-store")

SWEEP_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
SWEEP_NAME_ACCEPTED = "1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit"

PARTIAL = ".new"
"""Suffix of a file that is being written."""

WEIGHTS_SUFFIX = ".safetensors"

PROBE = ".seen-"
"""Prefix of the folder by which nodes show that they see the same store."""

_PART = re.compile(r"(?:trials|curves)-(\d{8}|[1-9]\d{8,})\.parquet")


def partial_of(path: Path, *, unique: bool = False) -> Path:
    """Return where a file is written before it is moved to its place.

    Workers write with a ``unique`` name: a lost one may write the same file. Process ids repeat between containers.
    """
    token = f".{secrets.token_hex(4)}" if unique else ""
    return path.with_name(f"{path.name}{token}{PARTIAL}")


def missing_folders(path: Path) -> list[Path]:
    """Return the folders that must be made for a path, itself included, the innermost first."""
    return [folder for folder in (path, *path.parents) if not folder.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, the innermost first, up to one that is not empty."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


Training = tuple[str, int]
"""The id of a trial, and when the training started, in microseconds since the epoch, as its row says."""


def weights_name(training: Training) -> str:
    """Return the name of the file of the final weights of a training."""
    trial_id, started_us = training
    return f"{trial_id}-{started_us}{WEIGHTS_SUFFIX}"


def _training(weights: Path) -> Training | None:
    trial_id, _, started_us = weights.stem.partition("-")
    return (trial_id, int(started_us)) if started_us.isdecimal() else None


def store_option(store: Path | str) -> list[str]:
    """Return what a command of bilin needs to use a store: nothing if it is the default one."""
    return [] if Path(store).absolute() == DEFAULT_STORE.absolute() else ["--store", str(store)]


class _Inside:
    """A property of a sweep's folder: the path of a fixed name in it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: SweepFolder, _: type) -> Path:
        return folder.path / self.name


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """The paths in the folder of one sweep, which the module describes. Neither it nor any of them need exist."""

    path: Path

    manifest = _Inside("manifest.json")
    wanted = _Inside("wanted.parquet")
    grid = _Inside("grid.json")
    damaged = _Inside("damaged")
    lock = _Inside("lock")
    lease = _Inside("lease.json")  # by which machines without a common lock know the writer
    asked = _Inside("asked.jsonl")
    snapshot = _Inside("running.json")
    job = _Inside("job.json")
    jobs = _Inside("jobs")
    checkpoints = _Inside("checkpoints")
    weights = _Inside("weights")
    logs = _Inside("logs")

    @classmethod
    def of(cls, store: Path | str, sweep: str) -> SweepFolder:
        """Return the folder of a sweep in a store.

        Raises:
            StoreError: The name is not that of a sweep, or the store or the folder is a file.
        """
        if not SWEEP_NAME.fullmatch(sweep):
            raise StoreError(f"{sweep!r} is not the name of a sweep; accepted: {SWEEP_NAME_ACCEPTED}")
        store = Path(store)
        for path in (store, store / sweep):
            if not path.is_dir() and path.exists():  # in this order: it may be renamed meanwhile
                raise StoreError(f"{path} is a file, not a directory; name another store with --store")
        return cls(store / sweep)

    @property
    def name(self) -> str:
        """The name of the sweep."""
        return self.path.name

    @property
    def store(self) -> Path:
        """The store that the sweep is in."""
        return self.path.parent

    @property
    def has_results(self) -> bool:
        """Whether a sweep was ever written here."""
        return self.manifest.exists() or any(self.path.glob("trials-*.parquet"))

    def trials_part(self, number: int) -> Path:
        """Part file with the results of some trials."""
        return self.path / f"trials-{number:08d}.parquet"

    def curves_part(self, number: int) -> Path:
        """Part file with the curves of the same trials."""
        return self.path / f"curves-{number:08d}.parquet"

    def part_files(self) -> Iterator[tuple[int, Path]]:
        """Every part file that is there, listed in the manifest or not, with its number."""
        return ((int(match[1]), path) for path in self.path.glob("*.parquet") if (match := _PART.fullmatch(path.name)))

    def checkpoint(self, trial_id: str) -> Path:
        """The checkpoint of a trial."""
        return self.checkpoints / trial_id

    def complete_checkpoints(self) -> Iterator[Path]:
        """The checkpoints of all trials, without those that are being written."""
        return (path for path in self.checkpoints.glob("*") if path.suffix != PARTIAL)

    def partial_checkpoints(self) -> Iterator[Path]:
        """The files of checkpoints that are being written, or were left half written."""
        return self.checkpoints.glob(f"*{PARTIAL}")

    def kept_weights(self) -> dict[Training, Path]:
        """The files of final weights. Those that are not of the training that a trial's row has are not used."""
        return {training: path for path in self.weights.glob(f"*{WEIGHTS_SUFFIX}") if (training := _training(path))}

    def drop_weights(self, trial_ids: Iterable[str]) -> None:
        """Remove the final weights of trials, of every training."""
        dropped = {*trial_ids}
        for (trial_id, _), path in self.kept_weights().items() if dropped else ():
            with suppress(OSError):  # weights that stay take up room, and nothing else
                if trial_id in dropped:
                    path.unlink(missing_ok=True)

    def copy_weights(self, source: SweepFolder, trainings: Iterable[Training]) -> None:
        """Copy the final weights of trials of another sweep, as far as it has them.

        Raises:
            OSError: They cannot be written.
        """
        kept = source.kept_weights()
        for file in (kept[training] for training in trainings if training in kept):
            try:
                content = file.read_bytes()
            except OSError:  # removed meanwhile, or not readable: then the row has no weights
                continue
            self.weights.mkdir(exist_ok=True)
            partial = partial_of(self.weights / file.name)
            try:
                partial.write_bytes(content)
                partial.replace(self.weights / file.name)
            except OSError:
                with suppress(OSError):
                    partial.unlink()  # a full disk needs the room
                raise

    def trial_log(self, trial_id: str) -> Path:
        """What a trial printed."""
        return self.logs / f"{trial_id}.log"

    def worker_log(self, worker: str) -> Path:
        """What a worker printed that has not moved to the log of its trial yet."""
        return self.logs / f".{worker}"

    def worker_logs(self) -> Iterator[Path]:
        """Those files of all workers."""
        return self.logs.glob(".*")

    def job_log(self, job: str) -> Path:
        """What a job or a detached launch printed."""
        return self.jobs / f"{job}.log"

    def job_request(self, job: str) -> Path:
        """What a Ray job is to run, as JSON."""
        return self.jobs / f"{job}.json"

    @property
    def slurm_log_pattern(self) -> Path:
        """The logs of Slurm jobs, for sbatch: ``%j`` stands for the id of the job."""
        return SweepFolder(Path(str(self.path.absolute()).replace("%", "%%"))).job_log("%j")
