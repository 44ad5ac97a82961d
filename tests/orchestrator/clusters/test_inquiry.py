"""The asker's side: what a beacon leaves and clears away, and what is read from answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bilin.orchestrator.clusters.inquiry import Answers, Finding, open_beacon


def test_it_is_gone_at_its_end_with_those_that_were_left_long_ago(tmp_path: Path) -> None:
    (old := tmp_path / ".seen-old").mkdir()
    (old / "here").write_text("left")
    os.utime(old, (0, 0))
    (young := tmp_path / ".seen-young").mkdir()
    with open_beacon(tmp_path) as beacon:
        assert beacon.is_dir()
        assert not old.exists()
    assert list(tmp_path.iterdir()) == [young]


@pytest.mark.parametrize(("ahead_s", "level", "words"), [(3, "ok", "within"), (40, "warning", "40 s ahead of")])
def test_a_clock_is_held_against_the_moment_of_its_answer(ahead_s: float, level: str, words: str) -> None:
    node = Answers("a")
    node.add("clock", 1000.0 + ahead_s, now=1000.0)
    node.add("clock", 1000.0, now=1030.0)
    first, second = node.findings
    assert (first.level, words in first.found) == (level, True)
    assert second.found == "30 s behind that here"


def test_a_check_without_an_answer_is_an_error() -> None:
    temporary = Finding("ok", "n", "temp directory", "/tmp: 5 GB free")
    node = Answers("n", findings=[temporary], error="killed")
    silent, found = node.conclude("0", ["temp directory", "shared memory"], None)
    assert (silent.level, silent.check, silent.found) == ("error", "answers", "no answer about shared memory (killed)")
    assert found == temporary
    (silent,) = Answers("n").conclude("0", ["versions", "store"], None)
    assert silent.found == "no answer about versions, store"
