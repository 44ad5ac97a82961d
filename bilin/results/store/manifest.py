"""The manifest: the part files that count, in order, and the checksums of all files of a sweep.

A trial's row and its curve rows are in part files of one number, so one replacement of the manifest makes both
visible together. A row in a later part supersedes a row of the same trial in an earlier one. A row never supersedes
one in a part of a higher number, so that the parts can be put in order without the manifest. Readers ignore files
that the manifest does not list.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bilin.errors import StoreError
from bilin.folder import SweepFolder
from bilin.results.schema import SCHEMA_VERSION
from bilin.results.store.durable import UNREADABLE, Checksum, Damage, DamageError, read_fault, replace_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part: a file of trials and, if there are curve rows, one of curves.

    Attributes:
        level: 0 for a part that was appended; a merge of parts is one level higher than they are.
        trials: Number of rows in the file of trials.
        curves: Number of rows in the file of curves; 0 if there is no such file.
        num_bytes: Size of both files.
    """

    number: int
    level: int
    trials: int
    curves: int
    num_bytes: int

    def paths(self, folder: SweepFolder) -> list[Path]:
        """Return the files of the part."""
        return [folder.trials_part(self.number), *([folder.curves_part(self.number)] if self.curves else [])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The parts that count, oldest first.

    Attributes:
        next_number: The number of the next part; no number is used twice.
        checksums: The checksums that each file may have, by its name: two for a file that is about to be replaced,
            none for a file of a version that wrote no checksums.
    """

    parts: tuple[Part, ...] = ()
    next_number: int = 1
    checksums: Mapping[str, tuple[Checksum, ...]] = field(default_factory=dict)

    def checksums_of(self, path: Path) -> tuple[Checksum, ...]:
        """Return the checksums that a file may have."""
        return self.checksums.get(path.name, ())

    def paths(self, folder: SweepFolder) -> Iterator[Path]:
        """Return the files of all parts."""
        return (path for part in self.parts for path in part.paths(folder))

    def with_checksums(self, folder: SweepFolder) -> Manifest:
        """Return the manifest with a checksum of every file, computed where it has none."""
        paths = [*self.paths(folder), *(path for path in (folder.wanted, folder.grid) if path.exists())]
        checksums = {path.name: self.checksums_of(path) or (Checksum.of_file(path),) for path in paths}
        return replace(self, checksums=checksums)


def read_manifest(folder: SweepFolder) -> Manifest:
    """Return the manifest of a sweep.

    Raises:
        FileNotFoundError: The sweep has not begun.
        DamageError: The manifest is damaged, or is missing and there are part files.
        StoreError: It has a newer schema.
        OSError: The system does not let it be read.
    """
    path = folder.manifest
    try:
        document = json.loads(path.read_bytes())
        if (written := document.pop("checksum", None)) is not None and written != _checksum(document):
            raise ValueError("its checksum does not match")
        version = document["schema_version"]
        manifest = None if version > SCHEMA_VERSION else _parse(document)
    except (FileNotFoundError, NotADirectoryError) as error:
        if folder.has_results:
            raise _damaged(path, "is missing, but there are part files") from error
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path)) from error
    except UNREADABLE as error:
        raise _damaged(path, read_fault(error)) from error
    if manifest is None:
        raise StoreError(
            f"{path} has schema version {version}, and this bilin reads up to {SCHEMA_VERSION}: install a newer one"
        )
    return manifest


def write_manifest(folder: SweepFolder, manifest: Manifest) -> None:
    """Replace the manifest; durable on return."""
    document = json.loads(json.dumps({"schema_version": SCHEMA_VERSION, **asdict(manifest)}))
    replace_file(folder.manifest, json.dumps({**document, "checksum": _checksum(document)}, indent=1).encode())


def _parse(document: Mapping[str, Any]) -> Manifest:
    parts = tuple(Part(**part) for part in document["parts"])
    numbers = [document["next_number"], *(value for part in parts for value in asdict(part).values())]
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError("expected non-negative integers")
    checksums = document.get("checksums", {})
    return Manifest(
        parts=parts,
        next_number=document["next_number"],
        checksums={name: tuple(Checksum(**each) for each in accepted) for name, accepted in checksums.items()},
    )


def _checksum(document: Mapping[str, Any]) -> int:
    """Return the checksum of a manifest's content, whatever its layout."""
    return zlib.crc32(json.dumps(document, sort_keys=True).encode())


def _damaged(path: Path, fault: str) -> DamageError:
    consequence = "its content is taken from the part files, from which the next launch rewrites it"
    return DamageError(Damage(path=path, fault=fault, consequence=consequence))
