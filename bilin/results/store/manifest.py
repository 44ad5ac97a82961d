"""The manifest: which part files of a sweep count, in which order, and by what each file is known.

A trial's row and its curve rows are in parts of one number, so that one replacement of the manifest
makes both appear together. A row in a later part supersedes a row of the same trial in an earlier one, and
no part has a row that an earlier number supersedes: in the order of their numbers, the last row counts.
Files that the manifest does not list do not exist for a reader.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bilin.errors import StoreError
from bilin.results.schema import SCHEMA_VERSION
from bilin.results.store.durable import replace_file
from bilin.results.store.paths import GRID, MANIFEST, WANTED
from bilin.results.store.whole import UNREADABLE, Checksum, Damage, DamageError, checksum_of, unreadable


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
    """The parts that count, oldest first, and the number of the next one; a number is never used twice.

    Attributes:
        checksums: Those that a file may have, by its name. Two, where one is about to replace another; none for a
            file that was written before there were any.
    """

    parts: tuple[Part, ...] = ()
    next_number: int = 1
    checksums: Mapping[str, tuple[Checksum, ...]] = field(default_factory=dict)

    def of(self, path: Path) -> tuple[Checksum, ...]:
        """The checksums that a file may have."""
        return self.checksums.get(path.name, ())

    def paths(self, directory: Path) -> Iterator[Path]:
        """The files of all parts."""
        return (path for part in self.parts for path in part.paths(directory))


def sealed(directory: Path, manifest: Manifest) -> Manifest:
    """The manifest with the checksum of every file of the sweep; those that it has are taken as they are."""
    kept = [path for path in (directory / WANTED, directory / GRID) if path.exists()]
    paths = [*manifest.paths(directory), *kept]
    return replace(manifest, checksums={path.name: manifest.of(path) or (checksum_of(path),) for path in paths})


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a sweep; an empty one where the sweep has not begun.

    Raises:
        DamageError: It is damaged, or missing beside parts.
        StoreError: It is of a newer schema.
        OSError: The system does not let it be read.
    """
    path = directory / MANIFEST
    try:
        document = json.loads(path.read_bytes())
        if (seal := document.pop("checksum", None)) is not None and seal != _seal(document):
            raise ValueError("its content is not what was written")
        version = document["schema_version"]
        newer = version > SCHEMA_VERSION
        manifest = None if newer else _manifest(document)
    except (FileNotFoundError, NotADirectoryError) as error:
        if any(directory.glob("trials-*.parquet")):
            raise DamageError(_damage(path, "is missing, though parts of results lie beside it")) from error
        return Manifest()
    except UNREADABLE as error:
        raise DamageError(_damage(path, unreadable(error))) from error
    if manifest is None:
        raise StoreError(
            f"{path} has schema version {version}, and this bilin reads up to {SCHEMA_VERSION}: install a newer one"
        )
    return manifest


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Make a manifest the one that counts, durable on return."""
    document = {"schema_version": SCHEMA_VERSION, **asdict(manifest)}
    document = json.loads(json.dumps(document))
    replace_file(directory / MANIFEST, json.dumps({**document, "checksum": _seal(document)}, indent=1).encode())


def _manifest(document: Mapping[str, Any]) -> Manifest:
    parts = tuple(Part(**part) for part in document["parts"])
    numbers = [document["next_number"], *(value for part in parts for value in asdict(part).values())]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError("its numbers are none")
    checksums = document.get("checksums", {})
    return Manifest(
        parts=parts,
        next_number=document["next_number"],
        checksums={name: tuple(Checksum(**each) for each in known) for name, known in checksums.items()},
    )


def _seal(document: Mapping[str, Any]) -> int:
    """The checksum of all else that a manifest says, however it is laid out."""
    return zlib.crc32(json.dumps(document, sort_keys=True).encode())


def _damage(path: Path, what: str) -> Damage:
    return Damage(
        path=path,
        what=what,
        read="the part files are read without it; the next launch writes it anew",
        mended="it is written anew from the part files",
        files=(path,),
    )
