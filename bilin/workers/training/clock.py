"""How long a trial has run, over all the workers that had it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """Runs from its making on.

    Attributes:
        started_at: When the trial was first started, in seconds since the epoch.
        before_s: Seconds that led to the state it was taken up from; what was lost with a worker is not in it.
    """

    started_at: float = field(default_factory=time.time)
    before_s: float = 0.0
    _began: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        """All seconds that led to where the trial is."""
        return self.before_s + time.perf_counter() - self._began
