"""What a beacon leaves, and what it clears away."""

from __future__ import annotations

import os
from pathlib import Path

from bilin.orchestrator.clusters.inquiry.beacon import beacon


def test_it_is_gone_at_its_end_with_those_that_were_left_long_ago(tmp_path: Path) -> None:
    (old := tmp_path / ".seen-old").mkdir()
    (old / "here").write_text("left")
    os.utime(old, (0, 0))
    (young := tmp_path / ".seen-young").mkdir()
    with beacon(tmp_path) as made:
        assert (made.folder / "here").read_text() == made.content
        assert not old.exists()
    assert list(tmp_path.iterdir()) == [young]
