from __future__ import annotations

import os
from pathlib import Path

import pytest

from bilin.errors import GridError
from bilin.orchestrator.grid import read_grid
from tests.orchestrator.grid.grids import HEAD


def fault(path: Path | str) -> str:
    with pytest.raises(GridError) as caught:
        read_grid(path)
    assert caught.value.exit_code == 2
    assert caught.value.source == os.fspath(path)
    (found,) = caught.value.faults
    return str(found)


def test_a_grid_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())
    assert len(read_grid(path).cells) == 1


def test_a_missing_file_names_those_beside_it(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(HEAD)
    assert fault(tmp_path / "gird.yaml") == "there is no such file; beside it there is grid.yaml"
    assert fault(tmp_path / "no" / "grid.yaml") == "there is no such file"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "is a directory" in fault(tmp_path)


def test_a_path_that_is_none_is_refused() -> None:
    assert "is not a path" in fault("a\0b")


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "grid.yaml")
    assert "not a regular file" in fault(tmp_path / "grid.yaml")


def test_a_large_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "grid.yaml").open("wb") as file:
        file.truncate(100_000_000)
    assert fault(tmp_path / "grid.yaml") == "has 100,000,000 bytes; a grid has at most 1,000,000"


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_bytes(b"name: x\n\xff\xfe\n")
    assert fault(tmp_path / "grid.yaml") == "line 2: found the byte 0xff; a grid is text in UTF-8"


def test_an_empty_file_says_what_a_grid_is(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").touch()
    assert fault(tmp_path / "grid.yaml") == "is empty; accepted: a mapping with name, tasks and models"
