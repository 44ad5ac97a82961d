"""The manifest: which part files of a sweep count, in which order.

A trial's row and its curve rows are in parts of one number, so that one replacement of the manifest
makes both appear together. A row in a later part supersedes a row of the same trial in an earlier one.
Files that the manifest does not list do not exist for a reader.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from bilin.errors import StoreError
from bilin.results.schema import SCHEMA_VERSION
from bilin.results.store.durable import replace_file
from bilin.results.store.paths import MANIFEST

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part: a file of trials and, where there are curve rows, one of curves.

    Attributes:
        level: 0 for a part as it was appended; one more each time that parts were merged.
        trials: Number of rows; ``curves`` likewise.
        num_bytes: Size of both files.
    """

    number: int
    level: int
    trials: int
    curves: int
    num_bytes: int

    def trials_path(self, directory: Path) -> Path:
        """The file of the trials."""
        return directory / f"trials-{self.number:08d}.parquet"

    def curves_path(self, directory: Path) -> Path:
        """The file of the curves; not there where `curves` is 0."""
        return directory / f"curves-{self.number:08d}.parquet"

    def paths(self, directory: Path) -> list[Path]:
        """The files of this part."""
        return [self.trials_path(directory)] + ([self.curves_path(directory)] if self.curves else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The parts that count, oldest first, and the number of the next one; a number is never used twice."""

    parts: tuple[Part, ...] = ()
    next_number: int = 1


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a sweep; an empty one where the sweep has not begun.

    Raises:
        StoreError: It cannot be read, is missing beside parts, or is of a newer schema.
    """
    path = directory / MANIFEST
    try:
        document = json.loads(path.read_bytes())
        version = document["schema_version"]
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{path} has schema version {version}, and this bilin reads up to {SCHEMA_VERSION}: install a newer one"
            )
        return Manifest(parts=tuple(Part(**part) for part in document["parts"]), next_number=document["next_number"])
    except (FileNotFoundError, NotADirectoryError):
        if any(directory.glob("trials-*.parquet")):
            raise StoreError(
                f"{path} is missing, though parts of results lie beside it: restore it, or move the folder away"
            ) from None
        return Manifest()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} cannot be read ({error}): restore it, or move the folder away") from error


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Make a manifest the one that counts, durable on return."""
    document = {"schema_version": SCHEMA_VERSION, **asdict(manifest)}
    replace_file(directory / MANIFEST, json.dumps(document, indent=1).encode())


def read_parts(directories: Sequence[Path], read: Callable[[list[Manifest]], T]) -> T:
    """What `read` makes of the parts of some sweeps that count, though writers may replace them meanwhile.

    Raises:
        StoreError: A part that counts is missing.
    """
    manifests = [read_manifest(directory) for directory in directories]
    while True:
        try:
            return read(manifests)
        except FileNotFoundError as error:
            before, manifests = manifests, [read_manifest(directory) for directory in directories]
            if manifests == before:
                raise StoreError(
                    f"{error.filename} is missing, though the {MANIFEST} beside it lists it: restore it, "
                    f"or delete its entry there, and its trials run again"
                ) from error
