from __future__ import annotations

from bilin.errors import SweepRunningError
from bilin.results import SweepWriter, stored, verify


def test_the_parts_of_a_sweep_become_one(bilin, store):
    before = stored(store, "sweep")
    assert bilin("compact").stdout == "sweep: merged 2 parts into one\n"
    assert bilin("compact", "--sweep", "sweep").stdout == "sweep: nothing to merge\n"
    assert stored(store, "sweep") == before
    (health,) = verify(store)
    assert (health.num_parts, health.num_trials, health.num_curves, health.damage) == (1, 3, 4, [])
    assert sorted(path.suffix for path in (store / "sweep").iterdir()) == ["", ".json", ".parquet", ".parquet"]


def test_a_running_sweep_is_left_alone(bilin, store):
    with SweepWriter(store, "sweep"):
        assert isinstance(bilin("compact").exception, SweepRunningError)
    assert verify(store)[0].num_parts == 2
