"""What a sweep makes of workers that are lost, and come back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bilin.orchestrator import ClusterSpec, launch
from bilin.orchestrator.grid import Grid
from bilin.record import TrialResult
from bilin.results import query
from bilin.spec import TrialSpec
from bilin.workers.actors import pool as ray_pool
from tests.orchestrator.runs import no_op

Tiny = Callable[..., Grid]


class StandsStillOnce:
    """A run whose first call stands still for some seconds, as on a node that is cut off; the next ones take longer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, spec: TrialSpec, *, report: object, checkpoints: object) -> TrialResult:
        time.sleep(4.0)  # until it was heard of
        try:
            (self.folder / spec.trial_id).touch(exist_ok=False)
        except FileExistsError:
            time.sleep(60.0)
        else:
            subprocess.Popen(["sh", "-c", f"sleep 16; kill -CONT {os.getpid()}"])
            os.kill(os.getpid(), signal.SIGSTOP)
        return no_op(spec)


@pytest.mark.ray
def test_the_first_result_counts_also_from_a_worker_that_was_taken_for_lost(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "SILENCE_S", 6.0)
    notes: list[str] = []
    summary = launch(
        tiny(m=2, rate="{choices: [1e-3]}"),
        store=tmp_path / "store",
        cluster=ClusterSpec(workers=2),
        run=StandsStillOnce(tmp_path),
        observer=lambda state: notes.extend(state.notes[len(notes) :]),
    )
    assert summary.ran == {"done": 1}
    (attempts,) = query(store=tmp_path / "store", view="trials", everything=True)["attempts"].to_pylist()
    assert attempts >= 2
    assert "silent for 6 s" in notes[0]
