"""A pool on a Ray: on one of our own on this machine, or on one that is already running."""

from __future__ import annotations

import math
import os
import secrets
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from bilin.errors import ClusterError, WaitWarning
from bilin.machine import guardian
from bilin.machine.host import connection_error, host_and_port, num_cpus
from bilin.machine.ray_node import OBJECT_STORE_BYTES, RAY_SETTINGS, shared_memory_fault, temp_root
from bilin.orchestrator.clusters import ray_internals
from bilin.orchestrator.clusters.capacity import ADVICE, shortfall
from bilin.workers.actors.node import Node
from bilin.workers.actors.pool import RayPool
from bilin.workers.pool import Pool

if TYPE_CHECKING:
    from bilin.orchestrator.clusters.backends import PoolSpec

CONNECT_S = 5.0

START_S = 600.0  # how long a Ray of our own may take to start while its processes live
NOTICE_S = 20.0  # when the user is told that it takes long
TRIES = 2


@contextmanager
def ray_pool(address: str | None, spec: PoolSpec, *, num_workers: int | None) -> Iterator[Pool]:
    """Open a pool on the Ray at an address; without an address, on a Ray of our own.

    Raises:
        ClusterError: The Ray cannot be reached or started, or has no node that a trial fits on.
    """
    cpus = max((resources.cpus for resources in spec.demand), default=1.0)
    with connected(address, math.ceil((num_workers or 0) * cpus)):
        pool = RayPool(
            spec.run,
            num_workers=num_workers,
            emit=spec.emit,
            checkpoints=spec.checkpoints,
            outputs=spec.outputs,
            check=_check_joined if address else _check_own,
        )
        try:
            for resources in spec.demand:
                if not pool.accepts(resources):
                    nodes = [Node.of(node) for node in ray.nodes() if node["Alive"]]
                    raise ClusterError(f"{shortfall(resources, nodes, of='this Ray' if address else None)}: {ADVICE}")
            yield pool
        finally:
            pool.close()


@contextmanager
def connected(address: str | None, min_cpus: int = 0) -> Iterator[None]:
    """Connect this process to the Ray at an address, or to a new one of our own, with at least ``min_cpus``.

    Raises:
        ClusterError: It cannot be reached or started.
    """
    if ray.is_initialized():
        raise ClusterError("this process is already connected to a Ray: call ray.shutdown() first")
    with ray_internals.quiet():
        if not address:
            with _own(max(num_cpus(), min_cpus)):
                yield
            return
        _check_reachable(address)
        ray_internals.read_settings()  # the token may have been set since Ray was imported
        _init(address=address)
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _own(num_cpus: int) -> Iterator[None]:
    """Start a Ray, and try again if that fails: under load, one of its processes may be too late for another one."""
    root = temp_root()  # a second try would not change what it finds
    with ExitStack() as stack:
        for attempt in range(1, TRIES + 1):
            try:
                stack.enter_context(_started(num_cpus, root))
                break
            except ClusterError as error:
                if attempt == TRIES:
                    raise ClusterError(
                        f"{error}; `--cluster inline` runs trials in this process, without Ray"
                    ) from error
                warnings.warn(f"{error}; starting it again (try {attempt + 1} of {TRIES})", WaitWarning, stacklevel=1)
        yield


@contextmanager
def _started(num_cpus: int, root: str) -> Iterator[None]:
    """Start a Ray on the loopback interface, protected by a random token. It ends with this process."""
    folder = tempfile.mkdtemp(prefix="bilin-", dir=root)
    watch = guardian.start(folder)
    tempfile.gettempdir()  # looked up once a process: now, before TMPDIR is set for the workers
    settings = {
        **RAY_SETTINGS,
        "TMPDIR": folder,
        guardian.MARK: folder,
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    try:
        with ray_internals.own_settings(settings):
            with ray_internals.patient(lambda: _has_node(folder), timeout_s=START_S, notice_s=NOTICE_S):
                _init(
                    address="local",
                    num_cpus=num_cpus,
                    include_dashboard=False,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _plasma_directory=folder if shared_memory_fault() else None,
                    _temp_dir=f"{folder}/ray",  # Ray opens its folder to everyone; the one around it only to the user
                )
            try:
                if watch.poll() is not None:
                    raise ClusterError(f"Could not start the guardian of Ray: is bilin installed for {sys.executable}?")
                yield
            finally:
                ray.shutdown()
    finally:
        assert watch.stdin is not None
        watch.stdin.close()
        watch.wait()


def _has_node(folder: str) -> bool:
    """Return whether a node that was started for a folder lives. Without /proc, assume that it does."""
    commands = [Path(f"/proc/{pid}/cmdline") for pid in guardian.belonging(folder)]
    for command in commands:
        with suppress(OSError):
            if b"/raylet" in command.read_bytes().partition(b"\0")[0]:
                return True
    return not Path("/proc/self").exists()


def _check_own() -> None:
    """Raise if an indispensable process of our own Ray has died: Ray itself would wait, or end this process."""
    if dead := ray_internals.dead_process():
        raise ClusterError(f"Ray's {dead} died: finished trials are stored, and the same command continues from there")


def _check_joined() -> None:
    if not ray.is_initialized():
        raise ClusterError(
            "lost the connection to Ray: finished trials are stored, and the same command continues from there"
        )


def _init(*, address: str, **options: object) -> None:
    config = None if address.startswith("ray://") else ray_internals.job_config()
    try:
        ray.init(address, logging_level="ERROR", log_to_driver=False, job_config=config, **options)
    except Exception as error:  # Ray raises all kinds, even a bare Exception if it did not start in time
        ray.shutdown()
        text = str(error).strip() or type(error).__name__
        advice = ""
        if "Starting Ray client server failed" in text:  # gRPC can crash when the head forks
            advice = (
                "; start its head with GRPC_ENABLE_FORK_SUPPORT=0 in its environment, "
                "or launch on one of its nodes with --address HOST:PORT"
            )
        raise ClusterError(f"Could not start Ray: {text}{advice}") from error


def _check_reachable(address: str) -> None:
    """Raise within seconds if nothing listens at an address: Ray itself would try for most of a minute."""
    if address == "auto":
        addresses = {own} if (own := os.environ.get("RAY_ADDRESS")) else ray_internals.running_addresses()
        if len(addresses) != 1:
            listed = ", ".join(sorted(addresses)) or "none"
            raise ClusterError(f"address 'auto' needs exactly one Ray on this machine; found: {listed}. Give HOST:PORT")
        (address,) = addresses
    if fault := connection_error(*host_and_port(address), CONNECT_S):
        raise ClusterError(f"no Ray answers at {address}: {fault}. Is it running, and reachable from this machine?")
