"""Making a sweep's folder whole again, which a writer does before it writes."""

from __future__ import annotations

from pathlib import Path

from bilin.results.store.contents import look
from bilin.results.store.durable import BESIDE, sync
from bilin.results.store.manifest import Manifest, sealed, write_manifest
from bilin.results.store.parts.found import part_files, with_found
from bilin.results.store.paths import GRID, MANIFEST, WANTED
from bilin.results.store.whole import ASIDE


def mend(directory: Path) -> Manifest:
    """Take out what is damaged, list what was written and not yet listed, and remove what is left of merges.

    The order matters: a damaged file is set aside while the manifest still lists it, so that a crash between cannot
    make it one that nobody knows. Only the writer may call this.

    Returns:
        The manifest, which is on disk.

    Warns:
        DamageWarning: Of each file that was set aside.
    """
    contents = look(directory)
    for damage in contents.damage:
        for path in damage.files:
            _set_aside(path)
        damage.warn_mended()
    found, _ = with_found(directory, contents.manifest)
    manifest = sealed(directory, found)
    if contents.damage or manifest != contents.manifest or not (directory / MANIFEST).exists():
        sync(directory)
        write_manifest(directory, manifest)
    _remove_unlisted(directory, manifest)
    return manifest


def _set_aside(path: Path) -> None:
    folder = path.parent / ASIDE
    folder.mkdir(exist_ok=True)
    target, count = folder / path.name, 1
    while target.exists():
        count += 1
        target = folder / f"{path.name}.{count}"
    if path.exists():
        path.rename(target)
        sync(folder)


def _remove_unlisted(directory: Path, manifest: Manifest) -> None:
    """Remove parts that were merged or never finished, and files that were to replace others."""
    listed = set(manifest.paths(directory))
    for _, path in part_files(directory):
        if path not in listed:
            path.unlink()
    for name in (MANIFEST, WANTED, GRID):
        (directory / (name + BESIDE)).unlink(missing_ok=True)
