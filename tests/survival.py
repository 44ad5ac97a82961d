"""The long campaign behind `make survival`: a sweep on Ray, killed 20 times at random moments.

    make survival

Its figures stand in docs/log.md.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bilin.orchestrator import ClusterSpec, launch
from tests.sweeps import NUM_TRIALS, contents, kill_and_relaunch, wait_until, write_grid


@pytest.mark.ray
@pytest.mark.slow
def test_a_sweep_on_ray_killed_at_random_moments_ends_as_if_undisturbed(tmp_path: Path) -> None:
    grid = write_grid(tmp_path)
    launch(grid, store=tmp_path / "undisturbed", cluster=ClusterSpec(kind="inline"))
    processes, folders = ray_processes(), set(Path("/tmp").glob("bilin-*"))
    store = tmp_path / "killed"
    started = time.monotonic()
    kill_and_relaunch(grid, store, ClusterSpec(workers=2), moments_s=(2.0, 14.0))
    print(f"20 kills and relaunches of {NUM_TRIALS} trials in {time.monotonic() - started:.0f} s")
    assert contents(store) == contents(tmp_path / "undisturbed")
    # No more than before: what another sweep on this machine had then may have ended since.
    assert wait_until(lambda: ray_processes() <= processes and set(Path("/tmp").glob("bilin-*")) <= folders, 10)


def ray_processes() -> int:
    """How many processes of any Ray there are on this machine."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        count += words.startswith(b"ray::") or b"/raylet/raylet" in words or b"/gcs/gcs_server" in words
    return count
