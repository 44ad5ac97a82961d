"""Ray on the nodes of the Slurm job that this process runs in, and on further nodes that join while the sweep runs.

One srun step starts `bilin.machine.ray_node` on every node. Its standard input is a pipe that this process holds: when
the pipe is closed, or this process is killed, Ray ends on all nodes. Nothing else ends it: `ray stop` would end every
Ray of the user on a shared node, and a signal to srun kills its processes at once.

Further nodes are jobs of one node each, elements of one array. Each begins and ends by itself; all are cancelled at
the end of the sweep. If the sweep was killed, they end when its Ray no longer answers.
"""

from __future__ import annotations

import os
import queue
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bilin.errors import ClusterError
from bilin.machine.host import environment, free_ports, own_address
from bilin.machine.ray_node import DOWN, HEAD_JOB, JOB_RAY_SETTINGS, UP, NodeCommand
from bilin.machine.slurm import SLURM, Slurm
from bilin.orchestrator.clusters.slurm.script import further_node_script
from bilin.orchestrator.grid import ClusterSettings
from bilin.units import plural

START_S = 600.0  # how long the nodes may take to come up; the sweep then begins with those that are up

STOP_S = 60.0

HEAD = "0"  # Slurm's number of the first node of a job, on which its script runs


@contextmanager
def ray_in_job(settings: ClusterSettings, *, slurm: Slurm = SLURM) -> Iterator[str]:
    """Start Ray on all nodes of this job, ask for further ones, and yield the address of the head.

    Ray must be imported inside of this context only, since it reads its settings then.

    Raises:
        ClusterError: This process is not on the first node of a job, or its nodes do not come up.
    """
    _check_place(slurm)
    own = {"RAY_AUTH_TOKEN": secrets.token_hex(32), HEAD_JOB: os.environ["SLURM_JOB_ID"], "RAY_ADDRESS": None}
    with (
        environment({**JOB_RAY_SETTINGS, **own}),
        _nodes(slurm) as command,
        further_nodes(settings, command, slurm=slurm),
    ):
        yield command.head


@contextmanager
def _nodes(slurm: Slurm) -> Iterator[NodeCommand]:
    """Start a node of Ray on each node of this job, and yield the command that was used."""
    port, client_port = free_ports(2)
    command = NodeCommand(head=f"{_address(slurm)}:{port}", client_port=client_port)
    step = slurm.start_step(["--overlap", "--cpu-bind=none"], command.argv(sys.executable), stdin=subprocess.PIPE)
    try:
        _wait_for_nodes(step, int(os.environ["SLURM_JOB_NUM_NODES"]))
        yield command
    finally:
        assert step.stdin is not None
        step.stdin.close()
        try:
            step.wait(STOP_S)
        except subprocess.TimeoutExpired:  # a node that is gone, for example; what is left ends with the job
            step.kill()
            step.wait()


def _wait_for_nodes(step: subprocess.Popen[str], num_nodes: int) -> None:
    """Wait for the nodes, at most `START_S`; those that come later are used when they are up."""
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
        if words[:2] in ([], [DOWN, HEAD]):
            raise ClusterError("Could not start Ray on the nodes of this job: the lines above say why")
        if words[0] == UP:
            up[words[1]] = words[2:]
        else:
            num_down += 1
    if HEAD not in up:
        raise ClusterError(f"the first node of this job did not start Ray within {START_S:g} s: are its disks slow?")
    names = " ".join(sorted(name for name, *_ in up.values()))
    cpus, gpus = (sum(int(words[i]) for words in up.values()) for i in (1, 2))
    where = f"{len(up)} of {plural(num_nodes, 'node')} ({names})"
    print(f"Ray is up on {where}: {plural(cpus, 'CPU')}, {plural(gpus, 'GPU')}", file=sys.stderr)
    threading.Thread(target=_report_later_nodes, args=(lines,), daemon=True).start()


def _report_later_nodes(lines: queue.SimpleQueue[list[str]]) -> None:
    while words := lines.get():
        if words[0] == UP:
            cpus, gpus = plural(int(words[3]), "CPU"), plural(int(words[4]), "GPU")
            print(f"Ray is also up on {words[2]}: {cpus}, {gpus}", file=sys.stderr)


def _pass_lines(step: subprocess.Popen[str], lines: queue.SimpleQueue[list[str]]) -> None:
    """Pass on, as words, the lines in which nodes report that they are up or down; no words at the end of the step."""
    assert step.stdout is not None
    for line in step.stdout:
        if (words := line.split())[:1] in ([UP], [DOWN]):
            lines.put(words)
    lines.put([])


def _check_place(slurm: Slurm) -> None:
    if "SLURM_JOB_ID" not in os.environ:
        raise ClusterError(
            "cluster 'allocation' runs on the nodes of a Slurm job, but this process is not in a job: "
            "--cluster slurm submits one"
        )
    if os.environ.get("SLURM_NODEID") != HEAD:
        raise ClusterError("cluster 'allocation' needs the first node of the job: run it from the job's script")
    if "srun" in slurm.missing():
        raise ClusterError("there is no srun on this node: is Slurm's folder missing from PATH?")


def _address(slurm: Slurm) -> str:
    """Return this node's address as the other nodes reach it."""
    own = os.environ["SLURMD_NODENAME"]
    peer = next((name for name in slurm.hostnames(os.environ["SLURM_JOB_NODELIST"]) if name != own), own)
    place = slurm.node_address(peer)
    try:
        address = own_address(place)
    except OSError as error:
        raise ClusterError(f"{own} cannot find the address of node {peer}, {place}: {error}") from error
    if address.startswith("127."):  # a lone node may know itself by that address, and further nodes could not use it
        with suppress(OSError):
            address = own_address(os.environ.get("SLURM_SUBMIT_HOST", place))
    return address


@contextmanager
def further_nodes(settings: ClusterSettings, command: NodeCommand, *, slurm: Slurm = SLURM) -> Iterator[None]:
    """Request the nodes that the sweep may have beyond those of its job, and cancel them at the end.

    If Slurm takes no jobs from within a job, this is reported, and the sweep goes on with the nodes that it has.
    """
    count = settings.max_nodes - int(os.environ["SLURM_JOB_NUM_NODES"])
    job_id = ""
    if count > 0:
        own = slurm.status(os.environ["SLURM_JOB_ID"])
        log = own.log.replace("%", "%%") if own and own.log else "/dev/null"
        name = f"{os.environ.get('SLURM_JOB_NAME', 'bilin')}-more"
        options = [f"--job-name={name}", f"--array=1-{count}", "--export=ALL"]
        try:
            job_id = slurm.submit(further_node_script(settings, command), *options, log=log)
            print(f"requested {plural(count, 'more node')}: job {job_id}", file=sys.stderr)
        except ClusterError as error:
            print(f"Could not request more nodes: {error}", file=sys.stderr)
    try:
        yield
    finally:
        if job_id:
            with suppress(ClusterError):  # they end when the head's Ray no longer answers
                slurm.cancel(job_id)


def time_left_s(*, slurm: Slurm = SLURM) -> float | None:
    """Return the seconds until this job ends; None if nothing limits it, or Slurm does not answer."""
    status = slurm.status(os.environ["SLURM_JOB_ID"])
    return status.left_s if status else None
