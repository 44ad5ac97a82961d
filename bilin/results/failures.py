"""The errors of a sweep's failed trials, each error once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bilin.failures import error_key, place_of
from bilin.folder import DEFAULT_STORE
from bilin.record import RESULT_STATUSES, Status, TrialResult
from bilin.results.sql.open_store import OpenStore
from bilin.results.sql.query import query


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error with which trials of a sweep failed.

    Attributes:
        status: The class of failure.
        error: The first line of the error, in the first of the trials.
        place: The file, line and function where the user's code failed; None if that is not known.
        count: How many of the wanted trials failed with it.
        trial_id: The first of the trials.
    """

    status: Status
    error: str
    place: str | None
    count: int
    trial_id: str


def failures(sweep: str, *, store: Path | str | OpenStore = DEFAULT_STORE) -> list[Failure]:
    """Return the errors with which wanted trials of a sweep failed, the most frequent first.

    Raises:
        StoreError: There is no such sweep, or it cannot be read.
    """
    with_result = ", ".join(f"'{status}'" for status in sorted(RESULT_STATUSES))
    rows = query(
        store=store,
        sweep=sweep,
        view="trials",
        where=f"status NOT IN ({with_result})",
        select="trial_id, status, error, traceback",
        sort="finished_at, trial_id",
    ).to_pylist()
    by_error: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        by_error.setdefault((row["status"], error_key(TrialResult(**row))), []).append(row)
    found = [
        Failure(
            status=same[0]["status"],
            error=same[0]["error"] or "",
            place=place_of(same[0]["traceback"]),
            count=len(same),
            trial_id=same[0]["trial_id"],
        )
        for same in by_error.values()
    ]
    return sorted(found, key=lambda failure: -failure.count)
