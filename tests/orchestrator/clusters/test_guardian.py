"""What the guardian ends, with real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from bilin.orchestrator.clusters import guardian

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"]


def start(command: list[str], mark: str | None) -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    if mark:
        environment[guardian.MARK] = mark
    return subprocess.Popen(command, env=environment, start_new_session=True)


def test_marked_processes_end_with_the_pipe_and_others_do_not(tmp_path: Path) -> None:
    folder = tmp_path / "ray"
    folder.mkdir()
    mine, deaf, other, plain = start(SLEEP, "a"), start(DEAF, "a"), start(SLEEP, "ab"), start(SLEEP, None)
    watch = guardian.start("a", str(folder))
    try:
        time.sleep(0.5)
        assert mine.poll() is None, "nothing ends before the pipe does"
        assert watch.stdin is not None
        watch.stdin.close()
        assert watch.wait(10) == 0
        assert mine.wait(1) < 0
        assert deaf.wait(1) < 0
        assert not folder.exists()
        assert plain.poll() is None
        assert other.poll() is None
    finally:
        for process in (mine, deaf, other, plain):
            process.kill()
            process.wait()
