"""The asker's side: what a beacon leaves and clears away, and what is read from answers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from bilin.machine.probe import Verdict
from bilin.orchestrator.clusters.inquiry import Answers, open_beacon
from bilin.orchestrator.clusters.nodes import faults


def test_it_is_gone_at_its_end_with_those_that_were_left_long_ago(tmp_path: Path) -> None:
    (old := tmp_path / ".seen-old").mkdir()
    (old / "here").write_text("left")
    os.utime(old, (0, 0))
    (young := tmp_path / ".seen-young").mkdir()
    with open_beacon(tmp_path) as beacon:
        assert (beacon.folder / "here").read_text() == beacon.content
        assert not old.exists()
    assert list(tmp_path.iterdir()) == [young]


@pytest.mark.parametrize(("ahead_s", "level", "words"), [(3, "ok", "within"), (40, "warning", "40 s ahead of")])
def test_a_clock_is_held_against_the_moment_of_its_answer(ahead_s: float, level: str, words: str) -> None:
    answers = Answers("a")
    answers.add("." + json.dumps(["clock", 1000.0 + ahead_s]), now=1000.0)
    ((found, text, _advice),) = answers.verdicts["clock"]
    assert (found, words in text) == (level, True)
    answers.add("." + json.dumps(["clock", 1000.0]), now=1030.0)
    assert answers.verdicts["clock"][0][1] == "30 s behind that here"


def test_a_node_without_the_same_versions_or_the_store_cannot_run_a_sweep(tmp_path: Path) -> None:
    other: Verdict = ("error", "has ray 9; here: 2", "Install 2 there")
    same: Verdict = ("ok", "bilin 1, as on this machine", "")
    assert list(faults(Answers("a", verdicts={"versions": [same], "store": []}), tmp_path)) == []
    differs, silent = faults(Answers("a", verdicts={"versions": [other, same]}), tmp_path)
    assert differs == "has ray 9; here: 2. Install 2 there"
    assert "Does its disk hang?" in silent
    assert list(faults(Answers("a"), tmp_path)) == ["did not answer"]
    assert list(faults(Answers("a", error="killed"), tmp_path)) == ["killed"]
