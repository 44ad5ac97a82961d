from __future__ import annotations

import json

from bilin.results import verify
from tests.sweeps import bilin as process
from tests.sweeps import finish


def test_a_whole_store_is_said_to_be_whole(bilin):
    result = bilin("verify")
    assert (result.exit_code, result.stdout) == (0, "sweep: undamaged, 2 parts, 3 rows of trials, 4 of curves\n")


def test_damage_is_said_and_nothing_is_changed(bilin, store):
    path = store / "sweep/trials-00000002.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    before = {each: each.read_bytes() for each in (store / "sweep").iterdir()}
    for _ in range(2):
        result = bilin("verify", "--sweep", "sweep")
        head, line = result.stdout.splitlines()
        assert (result.exit_code, head) == (1, "sweep: damaged, 1 part, 2 rows of trials, 4 of curves")
        assert line.startswith(f"  {path} is damaged (found ")
    assert {each: each.read_bytes() for each in (store / "sweep").iterdir()} == before


def test_what_was_set_aside_is_counted(bilin, store):
    (store / "sweep/damaged").mkdir()
    (store / "sweep/damaged/manifest.json").touch()
    assert bilin("verify").stdout.endswith(", 1 file set aside earlier\n")
    (health,) = json.loads(bilin("verify", "--json").stdout)
    assert (health["sweep"], health["num_aside"], health["damage"]) == ("sweep", 1, [])


def test_a_reader_says_in_one_line_what_it_leaves_out(store):
    path = store / "sweep/trials-00000002.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    for arguments in (["query", "--view", "trials"], ["table"]):
        status, said, warned = finish(process("results", *arguments, "--store", str(store)))
        assert status == 0
        assert said
        assert warned.count("\n") == 1
        assert warned.startswith(f"bilin: {path} is damaged (")
    assert verify(store)[0].damage
