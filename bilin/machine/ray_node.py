"""One node of a sweep's Ray: the program that srun starts once on each node of an allocation.

The first node is Ray's head, the others join it. The program ends with its standard input, whose other end the
sweep process holds: at the end of the sweep, when it fails, and when it is killed. A guardian then ends everything
that belongs to the node's folder, and removes the folder. A signal does not end the program: when a job is
cancelled, Slurm signals all of its processes, and the sweep process must end first.

A further node is a job of its own, without such a pipe: it ends on SIGTERM, or when the head's Ray no longer answers.

The token comes in the environment, which only the user and root can read. Command lines are open to everyone.
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
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from bilin.errors import ClusterError
from bilin.machine import guardian
from bilin.machine.host import connection_error, free_bytes, num_gpus, own_address
from bilin.machine.slurm import SLURM

TEMP_ROOT = "/tmp"  # where Ray has its folder if TMPDIR does not name one that it can use
LEAST_TEMP_BYTES = 20 * 2**20  # free disk space without which Ray does not start: its logs
SOCKET_PATH = 63  # characters that Ray's sockets add to its folder; a path of a socket has at most 107

SHARED_MEMORY = "/dev/shm"
OBJECT_STORE_BYTES = 128 * 2**20  # size of Ray's object store: specs and results are small, and pass by value

RAY_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # leave CUDA_VISIBLE_DEVICES alone for workers without GPUs
    # Otherwise Ray starts workers before the sweep may connect, and waits forever if one of them fails to start.
    "RAY_prestart_worker_first_driver": "0",
    # With ray[default], Ray would serve metrics without a token, on ports that two Rays of one machine both want.
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
    # How long Ray waits for parts of itself: by default 30 s, which is too short on a machine under load.
    "RAY_gcs_server_port_wait_time_s": "180",
    "RAY_agent_register_timeout_ms": "300000",
    # With `uv run`, Ray would upload the current folder for its workers, which have what they need.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
"""Environment of every Ray that a sweep starts."""

JOB_RAY_SETTINGS = {
    **RAY_SETTINGS,
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    # Ray gives up a node without power within seconds; with its defaults that takes minutes.
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_grpc_client_keepalive_time_ms": "5000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
}
"""Environment of the Ray of a Slurm job."""

HEAD_JOB = "BILIN_HEAD_JOB"  # environment variable with the id of the job that the sweep process is in
HEAD_S = 300.0  # how long a node waits for the head, which may load Ray from a slow disk
LATE_S = 30.0  # how long a further node waits: by then the head is up, or gone
HEADLESS_S = 60.0  # how long the head may not answer before its job is taken for one without a sweep
TRIES = 3  # how often Ray is started: it gives a node 30 s, however slow the disk is that it loads from

UP, DOWN = "up", "down"
RAY_IS_UP = "Ray runtime started"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCommand:
    """What is started on each node.

    Attributes:
        head: Address and port of the head.
        client_port: A port that is free on the head, for Ray's client server.
    """

    head: str
    client_port: int

    def argv(self, python: str) -> list[str]:
        """Return the command line."""
        return [python, "-P", "-m", "bilin.machine.ray_node", self.head, str(self.client_port)]


def temp_root() -> str:
    """Return where a Ray has its folder: what TMPDIR names or, if Ray cannot use that, `TEMP_ROOT`.

    Raises:
        ClusterError: It can use neither.
    """
    faults = {root: _temp_fault(root) for root in (os.environ.get("TMPDIR"), TEMP_ROOT) if root}
    for root, fault in faults.items():
        if not fault:
            return root
    raise ClusterError(
        f"Ray needs a folder for its sockets and logs and cannot use "
        f"{' or '.join(f'{root} ({fault})' for root, fault in faults.items())}: "
        "set TMPDIR to a folder with a short path that can be written, on a disk of this machine with room"
    )


def _temp_fault(root: str) -> str:
    """Return why a Ray cannot have its folder in another; empty if it can."""
    try:
        with tempfile.TemporaryDirectory(prefix="bilin-", dir=root) as folder, socket.socket(socket.AF_UNIX) as probe:
            probe.bind(f"{folder}/ray{'-' * SOCKET_PATH}")
        free = free_bytes(root)
    except OSError as error:
        return error.strerror or str(error)
    return "" if free >= LEAST_TEMP_BYTES else f"{free / 1e6:.1f} MB free"


def shared_memory_fault() -> str:
    """Return why Ray's object store cannot be in shared memory: Ray itself looks at its free space alone."""
    try:
        with tempfile.TemporaryFile(dir=SHARED_MEMORY) as file:
            file.write(b"0")
    except OSError as error:
        return error.strerror or str(error)
    return ""


def main(head: str, client_port: str) -> int:
    """Be a node until standard input ends; the arguments are those of `NodeCommand`.

    Returns:
        0 at the end of standard input, or if Ray ended by itself after it was up; 1 if Ray did not start.
    """
    try:
        folder = tempfile.mkdtemp(prefix="bilin-", dir=temp_root())
    except ClusterError as error:
        _give_up(str(error))
        return 1
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the guardian inherits this, and can do its work
    watch = subprocess.Popen(guardian.command(folder), stdin=subprocess.PIPE)
    ended = threading.Event()
    # A handler is not inherited, and Ray sets its own.
    signal.signal(signal.SIGTERM, (lambda *_: None) if _is_in_head_job() else (lambda *_: ended.set()))
    if _is_in_head_job():
        threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    try:
        for attempt in range(1, TRIES + 1):
            if not _reach(head, ended):
                return 1
            command = _ray_start(head, client_port, f"{folder}/{attempt}")
            environment = {**os.environ, guardian.MARK: folder, "TMPDIR": folder}
            if _run(command, environment, ended, is_last=attempt == TRIES):
                _requeue_if_headless(head, ended)
                return 0
        return 1
    finally:
        assert watch.stdin is not None
        watch.stdin.close()
        watch.wait()


def _run(command: list[str], environment: dict[str, str], ended: threading.Event, *, is_last: bool) -> bool:
    """Run Ray until the end of standard input. Return False if it did not start."""
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
                _give_up(f"Ray ended with exit code {ray.returncode}")
            elif is_last:
                _give_up(f"Ray did not start, exit code {ray.returncode}:", *listener.last)
            return listener.is_up
    return True


class _Listener(threading.Thread):
    """Reports once that Ray is up, and keeps its last lines in case it fails."""

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
                print(UP, os.environ["SLURM_NODEID"], socket.gethostname(), _num_cpus(), num_gpus(), flush=True)


def _give_up(*lines: str) -> None:
    """Report that this node is lost, and why."""
    print(f"{socket.gethostname()}:", "\n  ".join(lines), file=sys.stderr)
    print(DOWN, os.environ["SLURM_NODEID"], flush=True)


def _wait_for_end(ended: threading.Event) -> None:
    while os.read(0, 65536):
        pass
    ended.set()


def _ray_start(head: str, client_port: str, folder: str) -> list[str]:
    """Return `ray start` with what Slurm gave this node: by itself, Ray would take the whole machine."""
    options = {
        "num-cpus": _num_cpus(),
        "num-gpus": num_gpus(),
        "object-store-memory": OBJECT_STORE_BYTES,
        "temp-dir": folder,  # Ray opens its folder to everyone; the one around it is the user's alone
        "min-worker-port": 0,  # 0: any free one, since other jobs may run on this node
        "max-worker-port": 0,
        "include-log-monitor": "false",
        "dashboard-agent-listen-port": 0,  # of ray[default]
    }
    megabytes = int(os.environ.get("SLURM_MEM_PER_NODE", 0))
    megabytes = megabytes or int(os.environ.get("SLURM_MEM_PER_CPU", 0)) * _num_cpus()
    if (memory := megabytes * 2**20 - OBJECT_STORE_BYTES) > 0:  # Slurm sets a limit: what trials may reserve
        options["memory"] = memory
    if shared_memory_fault():
        options["plasma-directory"] = str(Path(folder).parent)
    host, _, port = head.rpartition(":")
    if _is_head():
        options |= {"node-ip-address": host, "port": port}
        if find_spec("grpc"):  # then Ray starts a client server, on a fixed port unless one is given
            options["ray-client-server-port"] = client_port
        role = ["--head", "--include-dashboard=false", "--no-monitor"]
    else:
        options |= {"node-ip-address": own_address(host), "address": head}
        role = []
    words = [*role, "--block", "--disable-usage-stats", *(f"--{name}={value}" for name, value in options.items())]
    return [sys.executable, "-u", "-P", "-c", "from ray.scripts.scripts import main; main()", "start", *words]


def _reach(head: str, ended: threading.Event) -> bool:
    """Wait for the head, at most `HEAD_S`, and return whether it answers. The first node is the head itself."""
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
    return not connection_error(host, int(port), 1.0)


def _requeue_if_headless(head: str, ended: threading.Event) -> None:
    """Requeue the job if Ray ended here because the first node, and the sweep process with it, is gone.

    Slurm itself would let such a job run to its time limit on the remaining nodes.
    """
    if _is_head() or not _is_in_head_job():
        return
    until = time.monotonic() + HEADLESS_S
    while time.monotonic() < until:
        if ended.wait(1.0) or _answers(head):
            return
    job_id = os.environ["SLURM_JOB_ID"]
    if not SLURM.requeue(job_id) and (status := SLURM.status(job_id)) and status.state == "RUNNING":
        SLURM.cancel(job_id)  # it runs: no other node of it has requeued it


def _is_head() -> bool:
    return os.environ["SLURM_NODEID"] == "0" and _is_in_head_job()


def _is_in_head_job() -> bool:
    return os.environ["SLURM_JOB_ID"] == os.environ[HEAD_JOB]


def _num_cpus() -> int:
    return int(os.environ["SLURM_CPUS_ON_NODE"])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
