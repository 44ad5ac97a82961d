"""What a sweep makes of workers that are lost, and come back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bilin.orchestrator import ClusterSpec, launch
from bilin.orchestrator.grid import Grid
from bilin.orchestrator.sweep.snapshot import Snapshot
from bilin.results import query
from bilin.workers.actors import pool as ray_pool
from tests.workers.pool_runs import StandsStill

Tiny = Callable[..., Grid]


@pytest.mark.ray
def test_the_first_result_counts_also_from_a_worker_that_was_taken_for_lost(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "SILENCE_S", 4.0)
    run = StandsStill(tmp_path)
    notes: list[str] = []

    def watch(snapshot: Snapshot) -> None:
        notes.extend(snapshot.notes[len(notes) :])
        for trial in snapshot.running:
            if trial.step:
                run.hear()
            if trial.attempt == 2:
                run.let_go()

    summary = launch(
        tiny(m=2, rate="{choices: [1e-3]}"),
        store=tmp_path / "store",
        cluster=ClusterSpec(workers=2),
        run=run,
        observer=watch,
    )
    assert summary.ran == {"done": 1}
    (attempts,) = query(store=tmp_path / "store", view="trials", everything=True)["attempts"].to_pylist()
    assert attempts >= 2
    assert "silent for 4 s" in notes[0]
