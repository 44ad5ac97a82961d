"""The asker's side: what a beacon leaves and clears away, and what is read from answers."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bilin.orchestrator.clusters.inquiry import Answers, open_beacon, other_versions


def test_it_is_gone_at_its_end_with_those_that_were_left_long_ago(tmp_path: Path) -> None:
    (old := tmp_path / ".seen-old").mkdir()
    (old / "here").write_text("left")
    os.utime(old, (0, 0))
    (young := tmp_path / ".seen-young").mkdir()
    with open_beacon(tmp_path) as beacon:
        assert (beacon.folder / "here").read_text() == beacon.content
        assert not old.exists()
    assert list(tmp_path.iterdir()) == [young]


def test_versions_that_differ_or_are_missing_are_named() -> None:
    found = other_versions({"bilin": "1", "ray": "2", "torch": "3"}, {"bilin": "1", "ray": "9", "torch": None})
    assert list(found) == ["ray", "torch"]
    assert found["ray"].startswith("has ray 9; here: 2.")
    assert found["torch"].startswith("has no torch; here: 3.")


def test_a_clock_is_held_against_the_moment_of_its_answer() -> None:
    behind = Answers("a")
    behind.add("." + json.dumps(["clock", {"now": 1000.0}]), now=1030.0)
    assert behind.ahead_s == -30.0
