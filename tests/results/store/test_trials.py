from __future__ import annotations

import subprocess
import sys

from bilin.results import stored
from bilin.rules import Outcome
from bilin.spec import Point
from tests.results.samples import cell, failed, ids, pair, seeds


def test_a_sweep_that_has_not_begun_stores_nothing(store):
    assert stored(store, "sweep") == {}
    assert not store.exists()


def test_a_stored_trial_says_what_it_is(store, writer):
    spec, result = pair(cell("cp", rank=8), lr=3e-4, seed=7, accuracy=0.75)
    writer.append([(spec, result)])
    trial = stored(store, "sweep")[spec.trial_id]
    assert (trial.cell_id, trial.lr, trial.seed, trial.status) == (spec.cell.cell_id, 3e-4, 7, "done")
    assert (trial.attempts, trial.steps, trial.wall_s) == (1, 250, 1.5)
    assert trial.tested == {10: 2048, 500: 2048}
    assert Outcome.of(trial.point, trial.seed, trial) == Outcome(Point(3e-4), 7, True, False, 0.75, 0.25)


def test_a_trial_without_a_result_has_tested_nothing(store, writer):
    writer.append([failed(seed=0, status="lost"), pair(seed=1), failed(seed=2, status="diverged")])
    by_seed = sorted(stored(store, "sweep").values(), key=lambda trial: trial.seed)
    assert [dict(trial.tested) for trial in by_seed] == [{}, {10: 2048, 500: 2048}, {}]
    assert [Outcome.of(trial.point, trial.seed, trial).is_done for trial in by_seed] == [False, True, False]
    assert by_seed[0].validation_accuracy is None


def test_null_and_not_a_number_are_told_apart(store, writer):
    writer.append([pair(seed=0, training_loss=float("nan")), failed(seed=1)])
    losses = {trial.seed: trial.training_loss for trial in stored(store, "sweep").values()}
    assert losses[0] != losses[0]
    assert losses[1] is None


def test_all_parts_are_read(store, writer):
    for trial in seeds(5):
        writer.append([trial])
    assert set(stored(store, "sweep")) == ids(seeds(5))


def test_reading_loads_neither_torch_nor_duckdb(store, writer):
    writer.append(seeds(2))
    code = (
        "import sys; from bilin.results import stored; assert len(stored(sys.argv[1], 'sweep')) == 2; "
        "assert not {'torch', 'duckdb', 'scipy', 'pandas', 'ray', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(store)], check=True)
