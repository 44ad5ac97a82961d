"""Ray on the nodes of the Slurm job that this process runs in.

One srun step starts `node.py` on every node. Its standard input is a pipe that this process holds: when it
is closed, or this process is killed, all of Ray ends on all nodes. Nothing else is used to end it:
`ray stop` would end every Ray of the user on a shared node, and a signal to srun kills at once.
"""

from __future__ import annotations

import os
import queue
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress

from bilin.errors import ClusterError
from bilin.orchestrator.clusters.environment import RAY_SETTINGS, TEMP_ROOT
from bilin.orchestrator.clusters.slurm import node
from bilin.orchestrator.clusters.slurm.more import Task, more_nodes
from bilin.orchestrator.clusters.slurm.queue import ask
from bilin.orchestrator.clusters.slurm.timed import Deadline, Starts, TimedPool
from bilin.orchestrator.grid import ClusterSettings
from bilin.workers.events import Emit
from bilin.workers.pool import Pool

START_S = 600.0
"""How long the nodes may take to come up; the sweep then begins with those that are there."""

STOP_S = 60.0

HEAD = "0"
"""Slurm's number of the first node of a job, on which its script runs."""

SETTINGS = {
    **RAY_SETTINGS,
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    # A node without power is given up within seconds; with Ray's own settings that takes minutes.
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_grpc_client_keepalive_time_ms": "5000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
}


@contextmanager
def on_allocation(
    on_ray: Callable[[str, Emit], AbstractContextManager[Pool]], starts: Starts, settings: ClusterSettings
) -> Iterator[Pool]:
    """A pool on a Ray of our own, on all nodes of this job and those that come to it; gone when this process is.

    Args:
        on_ray: A pool on the Ray at an address; the first to import Ray, which reads its settings then.
        starts: What listens to the trials.
        settings: What the job asked for.

    Raises:
        ClusterError: This process is not on the first node of a job, or its nodes do not come up.
    """
    _check_place()
    own = {"RAY_AUTH_TOKEN": secrets.token_hex(32), node.HEAD_JOB: os.environ["SLURM_JOB_ID"]}
    with (
        _environment({**SETTINGS, **own}),
        _nodes() as task,
        more_nodes(settings, task),
        on_ray(task.head, starts.take) as pool,
    ):
        yield TimedPool(pool, Deadline(_time_left, settings.warning_s), starts)


@contextmanager
def _nodes() -> Iterator[Task]:
    """All nodes up; what was started on each of them."""
    port, client_port = _free_ports(2)
    task = Task(
        head=f"{_own_address()}:{port}",
        client_port=client_port,
        folder=f"{TEMP_ROOT}/bilin-{secrets.token_hex(4)}",
    )
    options = ["--ntasks-per-node=1", "--overlap", "--no-kill", "--kill-on-bad-exit=0", "--cpu-bind=none"]
    step = subprocess.Popen(
        ["srun", "--export=ALL", *options, *task.command(sys.executable)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_for_nodes(step, int(os.environ["SLURM_JOB_NUM_NODES"]))
        yield task
    finally:
        _end(step)


def _wait_for_nodes(step: subprocess.Popen[str], num_nodes: int) -> None:
    """Wait for the nodes, `START_S` at most; those that come later are taken when they are there."""
    lines: queue.SimpleQueue[list[str]] = queue.SimpleQueue()
    threading.Thread(target=_pass_lines, args=(step, lines), daemon=True).start()
    up: dict[str, list[str]] = {}
    num_down = 0
    until = time.monotonic() + START_S
    while len(up) + num_down < num_nodes:
        try:
            words = lines.get(timeout=max(until - time.monotonic(), 0.01))
        except queue.Empty:
            break
        if words[:2] in ([], [node.DOWN, HEAD]):
            raise ClusterError("Ray did not come up on the nodes of this job: the lines above say why")
        if words[0] == node.UP:
            up[words[1]] = words[2:]
        else:
            num_down += 1
    if HEAD not in up:
        raise ClusterError(f"the first node of this job did not come up within {START_S:g} s: are its disks slow?")
    names = " ".join(sorted(name for name, *_ in up.values()))
    cpus, gpus = (sum(int(words[i]) for words in up.values()) for i in (1, 2))
    print(f"Ray is up on {len(up)} of {num_nodes} nodes ({names}): {cpus} CPUs, {gpus} GPUs", file=sys.stderr)
    threading.Thread(target=_say_later_ones, args=(lines,), daemon=True).start()


def _say_later_ones(lines: queue.SimpleQueue[list[str]]) -> None:
    while words := lines.get():
        if words[0] == node.UP:
            print(f"and on {words[2]}: {words[3]} CPUs, {words[4]} GPUs", file=sys.stderr)


def _pass_lines(step: subprocess.Popen[str], lines: queue.SimpleQueue[list[str]]) -> None:
    """The words of the lines in which nodes say that they are up or down; none at the end of the step."""
    assert step.stdout is not None
    for line in step.stdout:
        if (words := line.split())[:1] in ([node.UP], [node.DOWN]):
            lines.put(words)
    lines.put([])


def _end(step: subprocess.Popen[str]) -> None:
    assert step.stdin is not None
    step.stdin.close()
    try:
        step.wait(STOP_S)
    except subprocess.TimeoutExpired:  # a node that is gone, say; what is left ends with the job
        step.kill()
        step.wait()


def _check_place() -> None:
    if "SLURM_JOB_ID" not in os.environ:
        raise ClusterError(
            "cluster 'allocation' runs on the nodes of a Slurm job, and this is none: --cluster slurm submits one"
        )
    if os.environ.get("SLURM_NODEID") != HEAD:
        raise ClusterError("cluster 'allocation' wants the first node of the job: run it from the job's script")
    if shutil.which("srun") is None:
        raise ClusterError("there is no srun on this node: is Slurm's folder missing from PATH?")


def _time_left() -> float | None:
    status = ask(os.environ["SLURM_JOB_ID"])
    return status.left_s if status else None


def _own_address() -> str:
    """This node's address as the other nodes reach it."""
    own = os.environ["SLURMD_NODENAME"]
    names = _said("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()
    peer = next((name for name in names if name != own), own)
    words = _said("scontrol", "-o", "show", "node", peer).split()
    place = next((word.removeprefix("NodeAddr=") for word in words if word.startswith("NodeAddr=")), peer)
    try:
        found = node.own_address(place)
    except OSError as error:
        raise ClusterError(f"node {peer} has no address that {own} can find: {place}: {error}") from error
    if found.startswith("127."):  # a node that is alone may know itself by that: those that come later do not
        with suppress(OSError):
            found = node.own_address(os.environ.get("SLURM_SUBMIT_HOST", place))
    return found


def _said(*command: str) -> str:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise ClusterError(f"{' '.join(command)}: {ended.stderr.strip()}")
    return ended.stdout


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, held together so that they differ."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in (*values, "RAY_ADDRESS")}
    os.environ.pop("RAY_ADDRESS", None)  # of some other Ray
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
