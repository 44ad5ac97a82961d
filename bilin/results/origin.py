"""Where a result comes from, as far as it may change the numbers, and what the results of a cell mix.

Versions change what is computed, so results of several versions should not be compared. Hardware changes rounding. The
results version is part of the id of a trial, so results of several never meet in a cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bilin.units import plural


class Origin(NamedTuple):
    """Columns of a stored trial; ``torch`` is None if nothing is recorded."""

    task_package: str | None = None
    tier_package: str | None = None
    torch: str | None = None
    cpu: str | None = None
    gpu: str | None = None

    def differences(self, installed: Origin) -> dict[str, str]:
        """Return the recorded versions that differ from the installed ones, by the name of the column."""
        pairs = ((name, getattr(self, name), getattr(installed, name)) for name in VERSIONS)
        return {
            name: was for name, was, now in pairs if was is not None and without_build(was) != without_build(now or "")
        }


UNKNOWN = Origin()

VERSIONS = ("task_package", "tier_package", "torch")
HARDWARE = ("cpu", "gpu")


def without_build(version: str) -> str:
    """Return a version without its local part, which says for what it was built, as in ``2.9.1+cpu``."""
    return version.partition("+")[0]


def mixture(origins: Mapping[Origin, int], names: Sequence[str]) -> str | None:
    """Say in which of some columns results differ; None if they agree. `origins` has the number of trials of each."""
    texts = []
    for name in names:
        counts = Counter[str]()
        for origin, count in origins.items():
            if origin.torch is not None:
                counts[without_build(getattr(origin, name) or "none")] += count
        if len(counts) > 1:
            shown = [f"{value} ({plural(count, 'trial')})" for value, count in sorted(counts.items())]
            texts.append(f"{name}: {', '.join(shown)}")
    return "; ".join(texts) or None
