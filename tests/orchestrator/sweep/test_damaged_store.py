"""Stores whose files are damaged at random, and a disk that is full: no traceback, no wrong row, no loss."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilin.errors import InterruptedSweepError, StoreError
from bilin.orchestrator import ClusterSpec, launch, plan, status
from bilin.orchestrator.grid import Grid
from bilin.results import query, stored, verify
from tests.examples import examples
from tests.orchestrator.runs import no_op
from tests.results.samples import forget_checksums

INLINE = ClusterSpec(kind="inline")


class Whole:
    """A store that two launches wrote, its grid, and every row that was ever in it."""

    def __init__(self, store: Path, grid: Grid, known: dict[str, list[object]]) -> None:
        self.store, self.grid, self.known = store, grid, known

    def __repr__(self) -> str:
        return "Whole()"  # Hypothesis warns of an argument whose text is long


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    from bilin.orchestrator.grid import parse_grid
    from tests.orchestrator.conftest import TINY

    store = tmp_path_factory.mktemp("whole") / "store"
    known: dict[str, list[object]] = {"trials": [], "curves": []}
    for lengths in ("[10]", "[10, 50]"):
        grid = parse_grid(TINY.format(m="[2, 3]", rate="{choices: [1e-2, 1e-3]}", seeds="[0]", lengths=lengths))
        launch(grid, store=store, cluster=INLINE, run=no_op)
        for view, rows in rows_of(store).items():
            known[view] += rows
    return Whole(store, grid, known)


def rows_of(store):
    """The rows of each view, without which trials are selected: that depends on the others that can be read."""
    columns = {"trials": "* EXCLUDE (selected)", "curves": "*"}
    return {
        view: query(store=store, view=view, select=select, everything=True).to_pylist()
        for view, select in columns.items()
    }


@st.composite
def damages(draw):
    """What becomes of the bytes of a file: cut, a bit flipped, or some replaced."""
    where, bits = draw(st.floats(0, 1, exclude_max=True)), draw(st.integers(1, 255))
    how = draw(st.sampled_from(["cut", "flip", "replace", "insert"]))
    noise = draw(st.binary(min_size=1, max_size=12))

    def damage(content: bytes) -> bytes:
        at = int(where * len(content))
        if how == "cut":
            return content[:at]
        if how == "flip":
            return content[:at] + bytes([content[at] ^ bits]) + content[at + 1 :]
        return content[:at] + noise + content[at + (len(noise) if how == "replace" else 0) :]

    return damage


@pytest.mark.slow
@examples(40)
@given(file=st.integers(0, 99), damage=damages(), earlier=st.booleans())
def test_no_damage_of_a_file_is_a_traceback_or_a_wrong_row(whole, file, damage, earlier):
    grid = whole.grid
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = Path(shutil.copytree(whole.store, Path(folder) / "store"))
        if earlier:  # without checksums no row is known to be right, and still there is no traceback
            forget_checksums(store / "tiny")
        files = sorted(path for path in (store / "tiny").iterdir() if path.is_file() and path.stat().st_size)
        path = files[file % len(files)]
        path.write_bytes(damage(path.read_bytes()))
        for view, rows in rows_of(store).items():
            assert earlier or all(row in whole.known[view] for row in rows)
        made = plan(grid, store=store)
        assert made.num_to_run + made.num_done == 4
        with suppress(StoreError):  # a grid that is damaged
            assert status("tiny", store=store).plan.num_to_run == made.num_to_run
        verify(store)
        launch(grid, store=store, cluster=INLINE, run=no_op)
        assert len(stored(store, "tiny")) == 4
        assert [health.damage for health in verify(store)] == [[]]


@pytest.fixture
def disk(tmp_path):
    """A file system with hardly any room."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_launch_onto_a_full_disk_says_what_is_not_written_and_goes_on(disk, tiny):
    grid = tiny(seeds="[0, 1, 2, 3, 4, 5, 6, 7]")
    (disk / "ballast").write_bytes(bytes(20_000))
    with pytest.raises(InterruptedSweepError, match=r"No space left .* results? of this launch stored, \d+ could not"):
        launch(grid, store=disk / "store", cluster=INLINE, run=no_op)
    kept = len(stored(disk / "store", "tiny"))
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
    summary = launch(grid, store=disk / "store", cluster=INLINE, run=no_op)
    assert (summary.num_found, sum(summary.ran.values())) == (kept, 32 - kept)
