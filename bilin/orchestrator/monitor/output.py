"""What a trial printed, while it runs too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from bilin.errors import StoreError
from bilin.orchestrator.monitor.why import Why, why
from bilin.orchestrator.running.activity import PERIOD_S, read_activity
from bilin.results import DEFAULT_STORE, holder
from bilin.workers.output.files import LOGS, Outputs

FOLLOW_S = 0.5


def output(sweep: str, trial: str, *, store: Path | str = DEFAULT_STORE, follow: bool = False) -> Iterator[bytes]:
    """What a trial printed, in pieces; the attempts one after the other, each under a line that says where it ran.

    Args:
        sweep: Name of the sweep.
        trial: Id of a trial, or its first digits.
        store: Directory of the store.
        follow: Go on until the trial has ended, or nobody runs the sweep.

    Raises:
        StoreError: None, or more than one, begins so; or the sweep cannot be read.
    """
    found = why(sweep, trial, store=store)
    if len(found) > 1:
        some = ", ".join(each.trial_id for each in found[:5])
        raise StoreError(f"{trial} is a cell of {len(found)} trials ({some}): give the id of one")
    return _follow(found[0], store) if follow else _pieces(found[0])


def _pieces(trial: Why) -> Iterator[bytes]:
    if trial.log:
        yield trial.log.read_bytes()


def _follow(trial: Why, store: Path | str) -> Iterator[bytes]:
    path = Outputs(trial.sweep.directory / LOGS).of(trial.trial_id)
    position = 0
    ends = trial.state in ("ended", "not wanted", "not in the grid")
    while True:
        content = path.read_bytes() if path.exists() else b""
        if len(content) < position:  # its beginning was left out, for its size
            position = 0
        if content[position:]:
            yield content[position:]
        position = len(content)
        if ends:
            return
        time.sleep(FOLLOW_S)
        ends = not _may_print(trial, store)


def _may_print(trial: Why, store: Path | str) -> bool:
    """Whether a launch runs the trial or has not come to it."""
    if holder(store, trial.sweep.sweep) is None:
        return False
    activity = read_activity(trial.sweep.directory)
    if activity is None or activity.trial(trial.trial_id):
        return True
    if time.time() - activity.at > 2 * PERIOD_S:  # it trains in the launching process, which says less often
        return True
    (now,) = why(trial.sweep.sweep, trial.trial_id, store=store)
    return now.state in ("running", "waiting", "later")
