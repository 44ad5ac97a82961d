from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bilin
from bilin.errors import StoreError
from bilin.folder import PARTIAL, PROBE, WEIGHTS_SUFFIX, SweepFolder

FIXED = [name for name, value in vars(SweepFolder).items() if type(value).__name__ == "_Inside"]

BEACON = {"lock"}
"""Names in a beacon, a folder of its own in a store."""


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
    paths = [getattr(folder, name) for name in FIXED]
    files = [folder.checkpoint("a"), folder.trial_log("a"), folder.worker_log("a"), folder.job_log("a")]
    files += [folder.job_request("a"), folder.trials_part(1), folder.curves_part(1)]
    assert all(path.parent == folder.path for path in paths)
    assert all(path.parent in (folder.path, *paths) for path in files)
    assert len({*paths, *files}) == len(paths) + len(files)
    assert folder.store == tmp_path


def test_a_percent_sign_in_the_path_is_none_of_slurms_patterns(tmp_path: Path) -> None:
    folder = SweepFolder.of(tmp_path / "100%", "ranks")
    assert folder.slurm_log_pattern == tmp_path / "100%%/ranks/jobs/%j.log"


def test_nobody_else_spells_a_name_in_the_folder() -> None:
    package = Path(bilin.__file__).parent
    names = {vars(SweepFolder)[name].name for name in FIXED}
    files = (*(name for name in names if "." in name), PARTIAL, PROBE, ".log", ".parquet", WEIGHTS_SUFFIX)
    found = [
        f"{path}:{line} has {text!r}"
        for room in ("orchestrator", "cli", "results", "workers")
        for path in (package / room).rglob("*.py")
        for line, text in path_texts(path)
        if text in names - BEACON or text.endswith(files)
    ]
    assert not found


def path_texts(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts that may be parts of paths, with their lines: those after a slash, and those in f-strings."""
    for node in ast.walk(ast.parse(file.read_text())):
        after_slash = [node.right] if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) else []
        for part in [*after_slash, *(node.values if isinstance(node, ast.JoinedStr) else [])]:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.lineno, part.value
