"""A Ray to run on: one of our own on this machine, or one that is up."""

from __future__ import annotations

import math
import os
import secrets
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

import ray
from ray._private import parameter, ray_constants, services
from ray._raylet import AuthenticationTokenLoader, Config

from bilin.errors import ClusterError
from bilin.orchestrator.clusters import guardian
from bilin.orchestrator.clusters.environment import RAY_SETTINGS, TEMP_ROOT
from bilin.orchestrator.clusters.slurm.node import OBJECT_STORE_BYTES
from bilin.orchestrator.clusters.unmet import ADVICE, unmet
from bilin.spec import Resources
from bilin.workers.actors.node import Node
from bilin.workers.actors.pool import RayPool
from bilin.workers.pool import Pool

CONNECT_S = 5.0

_NO_CLIENT_SERVER = "Starting Ray client server failed"
"""What a head says to a client where it could not start a process for it: gRPC is known to crash as it forks."""


class MakePool(Protocol):
    """`RayPool`, but for what only this file knows."""

    def __call__(self, *, num_workers: int | None, check: Callable[[], None]) -> RayPool:
        """A pool on the Ray that this process is connected to."""


@contextmanager
def ray_pool(
    address: str | None, make: MakePool, *, num_workers: int | None, demand: Sequence[Resources]
) -> Iterator[Pool]:
    """A pool on the Ray at an address, or on a Ray of our own where there is none.

    Raises:
        ClusterError: The Ray cannot be reached or started, or could never meet a demand.
    """
    cpus = max((resources.cpus for resources in demand), default=1.0)
    with connected(address, math.ceil((num_workers or 0) * cpus)):
        pool = make(num_workers=num_workers, check=_check_joined if address else _check_started)
        try:
            for resources in demand:
                if not pool.accepts(resources):
                    nodes = [Node.of(node) for node in ray.nodes() if node["Alive"]]
                    raise ClusterError(f"{unmet(resources, nodes, of='this Ray')}: {ADVICE}")
            yield pool
        finally:
            pool.close()


@contextmanager
def connected(address: str | None, num_cpus: int = 0) -> Iterator[None]:
    """This process on the Ray at an address, or on one of our own, which has at least so many CPUs to give out.

    Raises:
        ClusterError: It cannot be reached or started.
    """
    if ray.is_initialized():
        raise ClusterError("this process is already connected to a Ray: call ray.shutdown() first")
    with _without_words(), _joined(address) if address else _started(max(_num_cpus(), num_cpus)):
        yield


@contextmanager
def _without_words() -> Iterator[None]:
    """Keep Ray from printing on standard output what befalls its nodes, dozens of lines each: it is noted by trial."""
    printed, ray._private.worker.print_to_stdstream = ray._private.worker.print_to_stdstream, lambda *_, **__: None
    try:
        yield
    finally:
        ray._private.worker.print_to_stdstream = printed


@contextmanager
def _started(num_cpus: int) -> Iterator[None]:
    """A Ray of our own: on the loopback interface, behind a random token, gone when this process is."""
    folder = tempfile.mkdtemp(prefix="bilin-", dir=TEMP_ROOT)
    watch = guardian.start(folder)
    tempfile.gettempdir()  # looked up once a process: this one's is not what is set for the workers here
    environment = {
        **RAY_SETTINGS,
        "TMPDIR": folder,
        guardian.MARK: folder,
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Ray binds to the loopback interface only where it takes this machine for all there is, as on macOS.
        ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0",
    }
    try:
        with _own_settings(environment):
            _init(
                address="local",
                num_cpus=num_cpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=f"{folder}/ray",  # Ray opens its folder to everyone; the one around it stays ours
            )
            try:
                yield
            finally:
                ray.shutdown()
    finally:
        assert watch.stdin is not None
        watch.stdin.close()
        watch.wait()


@contextmanager
def _joined(address: str) -> Iterator[None]:
    _check_reachable(address)
    _read_settings()  # the mode and the token may have been set since
    _init(address=address)
    try:
        yield
    finally:
        ray.shutdown()


def _check_started() -> None:
    """Raise where a process that our own Ray cannot do without has died; Ray itself would wait, or end us."""
    processes = ray._private.worker._global_node.all_processes
    for kind in (ray_constants.PROCESS_TYPE_GCS_SERVER, ray_constants.PROCESS_TYPE_RAYLET):
        if any(started.process.poll() is not None for started in processes.get(kind, ())):
            raise ClusterError(f"Ray's {kind} died: what is finished is kept, and the same command goes on")


def _check_joined() -> None:
    """Raise where this process is no longer connected."""
    if not ray.is_initialized():
        raise ClusterError("the connection to Ray is lost: what is finished is kept, and the same command goes on")


def _init(**options: object) -> None:
    try:
        ray.init(logging_level="ERROR", log_to_driver=False, **options)
    except Exception as error:  # Ray raises all kinds, a bare Exception where it did not start in time
        words = str(error).strip() or type(error).__name__
        raise ClusterError(f"Ray is not to be had: {words}{_advice(words)}") from error


def _advice(words: str) -> str:
    """What to do where Ray's own words do not say it."""
    if _NO_CLIENT_SERVER not in words:
        return ""
    return (
        "; start its head with GRPC_ENABLE_FORK_SUPPORT=0 in its environment, "
        "or launch on one of its nodes with --address HOST:PORT"
    )


def _check_reachable(address: str) -> None:
    """Fail within seconds where nothing listens: Ray itself would try for most of a minute."""
    if address == "auto":
        address = _found()
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        host, port = parts.hostname or "", parts.port
        if port is None:
            raise ClusterError(f"address {address!r} has no port: HOST:PORT, ray://HOST:PORT or auto is accepted")
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Ray answers at {address}: {error}; is it up, and reachable from here?") from error


@contextmanager
def _own_settings(values: Mapping[str, str]) -> Iterator[None]:
    """Settings of our own Ray, for this process and the processes that it starts."""
    before = {name: os.environ.get(name) for name in values}
    loopback, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    # With ray[default] each node has a small server, for which `ray.init` knows one port alone: 0 is any that is free.
    parameters, parameter.RayParams = parameter.RayParams, partial(parameter.RayParams, dashboard_agent_listen_port=0)
    os.environ.update(values)
    _read_settings()
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = loopback
        parameter.RayParams = parameters
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _read_settings()


def _read_settings() -> None:
    # Ray reads its environment once, when it is imported, and keeps the token: two Rays in a row in one
    # process (a notebook, a test suite) would share the first one's.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _found() -> str:
    """The address that ``auto`` stands for."""
    there = {os.environ["RAY_ADDRESS"]} if os.environ.get("RAY_ADDRESS") else services.find_gcs_addresses()
    if len(there) != 1:
        listed = ", ".join(sorted(there)) or "none"
        raise ClusterError(f"address 'auto' means the one Ray on this machine; there: {listed}. Give HOST:PORT")
    return next(iter(there))


def _num_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
