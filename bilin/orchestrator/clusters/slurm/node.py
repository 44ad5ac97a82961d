"""One node of a sweep's Ray: what srun starts, once on each node of an allocation.

The first node is Ray's head, the others join it. It ends when its standard input does, whose other end
the sweep process holds: so at the sweep's end, when it fails, and when it is killed. Nothing is left then:
a guardian ends all that belongs to its folder, and removes it. Signals are no reason to end: where a
job is cancelled Slurm sends them to every process of it, and the sweep process goes first.

A node that came later is a job of its own, without such a pipe: it ends when it is told to, or when the head's
Ray no longer answers.

Started by its file, so that nothing else of bilin is loaded. The token comes in the environment, which
only the user and root can read; command lines are open to all.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import IO

MARK = "BILIN_RAY_FOLDER"
HEAD_JOB = "BILIN_HEAD_JOB"
"""The job that the sweep process is in."""

GUARDIAN = Path(__file__).parents[1] / "guardian.py"
HEAD_S = 300.0
"""How long a node waits for the head: it may have a slow disk to load Ray from."""

LATE_S = 30.0
"""How long one that comes later waits: the head is up by then, or gone."""

HEADLESS_S = 60.0
"""How long the head may not answer before its job is taken for one without a sweep."""

TRIES = 3
"""Ray gives a node 30 s to start, whatever the disk that it is loaded from."""

OBJECT_STORE_BYTES = 128 * 2**20  # specs and results are small, and pass by value
UP, DOWN = "up", "down"
RAY_IS_UP = "Ray runtime started"


def main(head: str, client_port: str, folder: str) -> int:
    """Be a node until standard input ends.

    Args:
        head: Address and port of the head.
        client_port: A port that is free on the head, for Ray's client server.
        folder: Where Ray keeps its sockets and logs; made here, and removed at the end.

    Returns:
        0 at the end of standard input, or where Ray ended by itself after it was up; 1 where it did not come up.
    """
    if _is_in_head_job():
        Path(folder).mkdir(mode=0o700)
    else:  # it may be on a node that the sweep has already, or be here for the second time
        folder = tempfile.mkdtemp(prefix=f"{Path(folder).name}-", dir=Path(folder).parent)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the guardian inherits this, and can do its work
    watch = subprocess.Popen([sys.executable, "-P", str(GUARDIAN), folder], stdin=subprocess.PIPE)
    ended = threading.Event()
    # A handler is not inherited, and Ray has its own.
    signal.signal(signal.SIGTERM, (lambda *_: None) if _is_in_head_job() else (lambda *_: ended.set()))
    if _is_in_head_job():
        threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    try:
        for attempt in range(1, TRIES + 1):
            if not _reach(head, ended):
                return 1
            command = _command(head, client_port, f"{folder}/{attempt}")
            if _run(command, {**os.environ, MARK: folder, "TMPDIR": folder}, ended, is_last=attempt == TRIES):
                _give_back_headless(head, ended)
                return 0
        return 1
    finally:
        assert watch.stdin is not None
        watch.stdin.close()
        watch.wait()


def _run(command: list[str], environment: dict[str, str], ended: threading.Event, *, is_last: bool) -> bool:
    """Run Ray until the end of standard input; whether it came to that, or may not be started again."""
    ray = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    listener = _Listener(ray.stdout)
    while not ended.wait(0.2):
        if ray.poll() is not None:
            listener.join()
            if listener.is_up:
                _give_up(f"Ray has ended ({ray.returncode})")
            elif is_last:
                _give_up(f"Ray did not start ({ray.returncode}):", *listener.last)
            return listener.is_up
    return True


class _Listener(threading.Thread):
    """Says once that Ray is up, and keeps its last lines for the case that it fails."""

    def __init__(self, output: IO[str] | None) -> None:
        super().__init__(daemon=True)
        self._output = output or ()
        self.last: deque[str] = deque(maxlen=12)
        self.is_up = False
        self.start()

    def run(self) -> None:
        for line in self._output:
            self.last.append(line.rstrip())
            if RAY_IS_UP in line:
                self.is_up = True
                print(UP, os.environ["SLURM_NODEID"], socket.gethostname(), _num_cpus(), _num_gpus(), flush=True)


def _give_up(*lines: str) -> None:
    """Say that this node is of no more use, and why."""
    print(f"{socket.gethostname()}:", "\n  ".join(lines), file=sys.stderr)
    print(DOWN, os.environ["SLURM_NODEID"], flush=True)


def _wait_for_end(ended: threading.Event) -> None:
    while os.read(0, 65536):
        pass
    ended.set()


def _command(head: str, client_port: str, folder: str) -> list[str]:
    """`ray start` with what Slurm gave this node: by itself, Ray would take all of the machine."""
    options = {
        "num-cpus": _num_cpus(),
        "num-gpus": _num_gpus(),
        "object-store-memory": OBJECT_STORE_BYTES,
        "temp-dir": folder,  # Ray opens its folder to everyone; the one around it stays ours
        "min-worker-port": 0,  # 0: any that is free, since other jobs may run on this node
        "max-worker-port": 0,
        "include-log-monitor": "false",
        "dashboard-agent-listen-port": 0,  # of ray[default]
    }
    if memory := _memory_bytes():
        options["memory"] = memory
    host, _, port = head.rpartition(":")
    if _is_head():
        options |= {"node-ip-address": host, "port": port}
        if find_spec("grpc"):  # then Ray has a client server, on one port for all where none is given
            options["ray-client-server-port"] = client_port
        role = ["--head", "--include-dashboard=false", "--no-monitor"]
    else:
        options |= {"node-ip-address": own_address(host), "address": head}
        role = []
    words = [*role, "--block", "--disable-usage-stats", *(f"--{name}={value}" for name, value in options.items())]
    return [sys.executable, "-u", "-P", "-c", "from ray.scripts.scripts import main; main()", "start", *words]


def own_address(peer: str) -> str:
    """This machine's address on the way to another; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((peer, 9))
        return str(probe.getsockname()[0])


def _reach(head: str, ended: threading.Event) -> bool:
    """Whether the head answers within `HEAD_S`; the first node is the head itself."""
    if _is_head():
        return True
    until = time.monotonic() + (HEAD_S if _is_in_head_job() else LATE_S)
    while time.monotonic() < until:
        if _answers(head):
            return True
        if ended.wait(0.2):
            return False
    _give_up(f"the first node's Ray does not answer at {head}")
    return False


def _answers(head: str) -> bool:
    host, _, port = head.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1.0).close()
    except OSError:
        return False
    return True


def _give_back_headless(head: str, ended: threading.Event) -> None:
    """Where Ray has ended here since the first node is gone, and the sweep process with it: give the job back to Slurm.

    Slurm itself lets such a job run to its time limit on the nodes that it still has.
    """
    if _is_head() or not _is_in_head_job():
        return
    until = time.monotonic() + HEADLESS_S
    while time.monotonic() < until:
        if ended.wait(1.0) or _answers(head):
            return
    job = os.environ["SLURM_JOB_ID"]
    if subprocess.run(["scontrol", "requeue", job], check=False).returncode and _runs(job):
        subprocess.run(["scancel", job], check=False)


def _runs(job: str) -> bool:
    """Whether a job still runs; another of its nodes may have given it back."""
    shown = subprocess.run(["scontrol", "-o", "show", "job", job], capture_output=True, text=True, check=False)
    return " JobState=RUNNING " in shown.stdout


def _is_head() -> bool:
    return os.environ["SLURM_NODEID"] == "0" and _is_in_head_job()


def _is_in_head_job() -> bool:
    return os.environ["SLURM_JOB_ID"] == os.environ[HEAD_JOB]


def _num_cpus() -> int:
    return int(os.environ["SLURM_CPUS_ON_NODE"])


def _num_gpus() -> int:
    if given := os.environ.get("SLURM_GPUS_ON_NODE"):
        return int(given)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return 0 if visible in ("", "-1", "NoDevFiles") else len(visible.split(","))


def _memory_bytes() -> int:
    """What trials may reserve of this node's memory; 0 where Slurm set no limit."""
    megabytes = int(os.environ.get("SLURM_MEM_PER_NODE", 0))
    megabytes = megabytes or int(os.environ.get("SLURM_MEM_PER_CPU", 0)) * _num_cpus()
    return max(megabytes * 2**20 - OBJECT_STORE_BYTES, 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
