"""What the kernel counts of the processes that it ended for want of memory: a real one, where a group can be made."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bilin.workers.actors.memory import count_in, killed_here

GROUP = Path(f"/sys/fs/cgroup/memory/bilin-test-{os.getpid()}")
EATS = f"open('{GROUP}/cgroup.procs', 'w').write('0'); bytearray(b'x') * 2**28"


@pytest.fixture
def group() -> Iterator[Path]:
    try:
        GROUP.mkdir()
    except OSError as error:
        pytest.skip(f"no control group of memory (version 1) can be made here: {error}")
    (GROUP / "memory.limit_in_bytes").write_text(str(2**26))
    yield GROUP
    GROUP.rmdir()


def test_a_process_that_the_kernel_ends_for_want_of_memory_is_counted(group: Path) -> None:
    counter = group / "memory.oom_control"
    assert count_in(counter) == 0
    assert subprocess.run([sys.executable, "-c", EATS], check=False).returncode == -9
    assert count_in(counter) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts them")
def test_there_is_a_count_for_this_process() -> None:
    assert killed_here() is not None


def test_a_file_that_says_none_has_no_count(tmp_path: Path) -> None:
    assert count_in(tmp_path / "gone") is None
