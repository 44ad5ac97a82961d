"""Where a store keeps its sweeps, and what their names may be."""

from __future__ import annotations

import re
from pathlib import Path

from bilin.errors import StoreError

DEFAULT_STORE = Path("bilin-store")

SWEEP_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

MANIFEST = "manifest.json"
WANTED = "wanted.parquet"
GRID = "grid.json"


def sweep_directory(store: Path | str, sweep: str) -> Path:
    """The folder of a sweep, which need not exist.

    Raises:
        StoreError: The name is none of a sweep, or the store is not a directory.
    """
    if not SWEEP_NAME.fullmatch(sweep):
        raise StoreError(
            f"{sweep!r} is not a sweep's name: up to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or digit"
        )
    store = Path(store)
    for path in (store, store / sweep):
        if path.exists() and not path.is_dir():
            raise StoreError(f"{path} is a file, not a directory; name another store with --store")
    return store / sweep


def sweep_names(store: Path | str) -> list[str]:
    """The sweeps of a store, sorted.

    Raises:
        StoreError: There is no store at this path.
    """
    store = Path(store)
    if not store.is_dir():
        found = "is a file, not a directory" if store.exists() else "is not there"
        raise StoreError(f"the store {store} {found}; name one with --store or BILIN_STORE, or launch a sweep into it")
    if _is_sweep(store):
        raise StoreError(f"{store} is a sweep; its store is the folder around it, {store.absolute().parent}")
    return sorted(path.name for path in store.iterdir() if SWEEP_NAME.fullmatch(path.name) and _is_sweep(path))


def existing_sweep(store: Path | str, sweep: str) -> Path:
    """The folder of a sweep that is in the store.

    Raises:
        StoreError: There is no such sweep; the message lists those that are there.
    """
    directory = sweep_directory(store, sweep)
    names = sweep_names(store)
    if sweep not in names:
        known = ", ".join(names) if names else "none yet"
        raise StoreError(f"no sweep {sweep!r} in the store {store}; there: {known}")
    return directory


def _is_sweep(directory: Path) -> bool:
    return (directory / MANIFEST).exists() or any(directory.glob("trials-*.parquet"))
