from __future__ import annotations

from pathlib import Path

import pytest

from bilin.errors import StoreError
from bilin.folder import SweepFolder


@pytest.mark.parametrize("name", ["", "Upper", "../up", "a/b", ".hidden", "x" * 65])
def test_a_name_that_no_sweep_has_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="accepted: 1 to 64"):
        SweepFolder.of(tmp_path, name)


def test_a_store_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        SweepFolder.of(tmp_path / "store", "ranks")


def test_part_files_are_found_by_their_names(tmp_path: Path) -> None:
    folder = SweepFolder.of(tmp_path, "ranks")
    folder.path.mkdir()
    for path in (folder.trials_part(1), folder.curves_part(1), folder.trials_part(123_456_789), folder.wanted):
        path.write_text("")
    (folder.path / "trials-0000001.parquet").write_text("")
    assert sorted(folder.part_files()) == [
        (1, folder.curves_part(1)),
        (1, folder.trials_part(1)),
        (123_456_789, folder.trials_part(123_456_789)),
    ]


def test_every_path_lies_in_the_folder(tmp_path: Path) -> None:
    folder = SweepFolder.of(tmp_path, "ranks")
    properties = [name for name, value in vars(SweepFolder).items() if isinstance(value, property)]
    paths = [getattr(folder, name) for name in properties if name not in ("name", "store", "has_results")]
    assert all(path.parent == folder.path for path in paths)
    assert folder.store == tmp_path
    assert len(set(paths)) == len(paths)
