"""The sweeps in a store."""

from __future__ import annotations

from pathlib import Path

from bilin.errors import StoreError
from bilin.folder import SWEEP_NAME, SweepFolder

DEFAULT_STORE = Path("bilin-store")


def sweep_names(store: Path | str) -> list[str]:
    """Return the names of the sweeps in a store, sorted.

    Raises:
        StoreError: There is no store at this path.
    """
    store = Path(store)
    if not store.is_dir():
        reason = "is a file, not a directory" if store.exists() else "does not exist"
        raise StoreError(f"the store {store} {reason}; name one with --store or BILIN_STORE, or launch a sweep into it")
    if SweepFolder(store).has_results:
        raise StoreError(f"{store} is a sweep; its store is the folder that contains it, {store.absolute().parent}")
    return sorted(
        path.name for path in store.iterdir() if SWEEP_NAME.fullmatch(path.name) and SweepFolder(path).has_results
    )


def sweep_folders(store: Path | str, sweep: str | None = None) -> list[SweepFolder]:
    """Return the folders of one sweep, or of all sweeps in a store. Raises as `existing_sweep` does."""
    if sweep is None:
        return [SweepFolder.of(store, name) for name in sweep_names(store)]
    return [existing_sweep(store, sweep)]


def existing_sweep(store: Path | str, sweep: str) -> SweepFolder:
    """Return the folder of a sweep that exists.

    Raises:
        StoreError: The store or the sweep does not exist; the message lists the sweeps of the store.
    """
    folder = SweepFolder.of(store, sweep)
    names = sweep_names(store)
    if sweep not in names:
        raise StoreError(f"no sweep {sweep!r} in the store {store}; sweeps in it: {', '.join(names) or 'none yet'}")
    return folder
