"""A worker, as the pool knows it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bilin.workers.actors.memory import Killed
from bilin.workers.pool import Group


@dataclass(slots=True, eq=False)
class Worker:
    """One actor, and what it has said of itself.

    Attributes:
        amounts: What it takes of its node, by Ray's names.
        group: What it runs; None while it is idle.
        question: The call that asks how it is; None where none is open.
        asked_at: When it was asked last, on this process's clock.
        lost_at: When it was taken for lost, on the same.
        has_begun: Whether it has answered since it was given its group: until then it may be loading torch.
        silent_s: Seconds that were spent listening for the answer to ``question``; 0 for one that has not begun.
        node: The id of its node, where that is known.
        pid: Its process there.
        killed: How many processes the kernel of its node had ended when it answered last.
    """

    name: str
    actor: Any
    amounts: Mapping[str, float]
    group: Group | None = None
    question: Any = None
    asked_at: float = 0.0
    has_begun: bool = False
    silent_s: float = 0.0
    lost_at: float = 0.0
    node: str | None = None
    pid: int | None = None
    killed: Killed | None = None

    def ask(self) -> None:
        """Ask how it is; `bilin.workers.actors.hearing` takes the answer."""
        self.asked_at = time.monotonic()
        self.question = self.actor.progress.remote()
