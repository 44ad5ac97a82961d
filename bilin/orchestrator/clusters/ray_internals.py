"""Ray's private names: all that bilin reads or patches. Each patch is undone.

Ray may change them with any release, so `pyproject.toml` accepts only the releases that were tried.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray

from bilin.errors import ClusterError, WaitWarning
from bilin.machine.host import environment, free_ports

TRIED = "2.60"  # the releases of Ray that bilin was tested with

_WORKER = "ray._private.worker"
_CONSTANTS = "ray._private.ray_constants"
_PARAMETER = "ray._private.parameter"
_SERVICES = "ray._private.services"
_RAYLET = "ray._raylet"
_JOB_CONFIG = "ray.job_config"
_UV_RUN = "RAY_ENABLE_UV_RUN_RUNTIME_ENV"

_AGENT_PORTS = ("dashboard_agent_listen_port", "metrics_agent_port", "metrics_export_port", "runtime_env_agent_port")

_LOOK_S = 0.2


def _private(module: str, name: str) -> Any:
    """Return a private name. Raises ClusterError if this Ray does not have it."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ClusterError(
            f"Ray {ray.__version__} has no {module}.{name}, which bilin needs; bilin was tested with Ray {TRIED}: "
            f"pip install 'ray=={TRIED}.*'"
        ) from error


@contextmanager
def _patched(module: str, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Replace the object of a private name by what a function makes of it."""
    before = _private(module, name)
    setattr(importlib.import_module(module), name, change(before))
    try:
        yield
    finally:
        setattr(importlib.import_module(module), name, before)


def quiet() -> Any:
    """Return a context in which Ray does not print what happens to its nodes, dozens of lines each."""
    return _patched(_WORKER, "print_to_stdstream", lambda _: lambda *_, **__: None)


@contextmanager
def own_settings(values: Mapping[str, str]) -> Iterator[None]:
    """Set the environment of a Ray of our own, for this process and those that it starts."""
    variable = _private(_CONSTANTS, "ENABLE_RAY_CLUSTERS_ENV_VAR")
    # "0": Ray binds to the loopback interface only if it takes this machine for the whole cluster, as on macOS.
    settings = {**values, variable: "0"}
    try:
        with (
            _patched(_CONSTANTS, "ENABLE_RAY_CLUSTER", lambda _: False),
            _patched(_PARAMETER, "RayParams", lambda params: partial(params, **_agent_ports())),
            _patched(_SERVICES, "start_raylet", _with_known_ports),
            _patched(_CONSTANTS, _UV_RUN, lambda _: False),  # read when Ray was imported
            environment(settings),
        ):
            read_settings()
            yield
    finally:
        read_settings()


def _agent_ports() -> dict[str, int]:
    """Return free ports for the agents of a node. `ray.init` knows a fixed one, which two Rays of a machine want."""
    return dict(zip(_AGENT_PORTS, free_ports(len(_AGENT_PORTS)), strict=True))


def _with_known_ports(start: Callable[..., Any]) -> Callable[..., Any]:
    """Return `start_raylet` for agents whose ports are known.

    The raylet waits until its agents have written their ports to files, and ends after 15 s, which is too short on a
    machine under load. With the files there, it starts at once, and retries its calls until the agents answer.
    """
    persist_port = _private(_RAYLET, "persist_port")

    def start_raylet(*arguments: Any, **options: Any) -> Any:
        known = inspect.signature(start).bind(*arguments, **options).arguments
        for name in _AGENT_PORTS:
            file = _private(_RAYLET, f"{name.upper()}_NAME")
            persist_port(known["session_dir"], known["node_id"], file, known[name])
        return start(*arguments, **options)

    return start_raylet


def patient(is_alive: Callable[[], bool], *, timeout_s: float, notice_s: float) -> Any:
    """Return a context in which Ray waits for its node as long as the node's process lives, instead of 30 s.

    A `WaitWarning` says so after ``notice_s``.
    """

    def change(get_node: Callable[..., Any]) -> Callable[..., Any]:
        began = time.monotonic()

        def wait(*arguments: Any) -> Any:
            is_noticed = False
            while True:
                try:
                    return get_node(*arguments)
                except RuntimeError:
                    waited_s = time.monotonic() - began
                    if waited_s > timeout_s or not is_alive():
                        raise
                if waited_s > notice_s and not is_noticed:
                    is_noticed = True
                    warnings.warn("Ray is starting; under load this takes minutes", WaitWarning, stacklevel=1)
                time.sleep(_LOOK_S)

        return wait

    return _patched(_SERVICES, "get_node", change)


def job_config() -> Any:
    """Return settings with which workers import from the folders that this process imports from, and no others.

    Ray itself would also put the current folder first, and files there would take the place of Python's own modules.
    """
    library = str(Path(sysconfig.get_path("stdlib")).parent)
    first = itertools.takewhile(lambda folder: not folder.startswith(library), sys.path)
    # Ray puts one after the other at the beginning of the workers' path.
    folders = [str(Path(folder).absolute()) for folder in first][::-1]
    config = _private(_JOB_CONFIG, "JobConfig")(_py_driver_sys_path=folders)
    config._runtime_env_has_working_dir = lambda: True  # then Ray adds nothing
    return config


def read_settings() -> None:
    """Make Ray read its environment again.

    It reads it once, when it is imported, and keeps the token: two Rays in a row in one process (a notebook, a test
    suite) would share the first one's.
    """
    _private(_RAYLET, "Config").initialize("")
    _private(_RAYLET, "AuthenticationTokenLoader").instance().reset_cache()


def dead_process() -> str | None:
    """Return the kind of an indispensable process of our own Ray that has died; None if all live."""
    processes = _private(_WORKER, "_global_node").all_processes
    kinds = [_private(_CONSTANTS, f"PROCESS_TYPE_{kind}") for kind in ("GCS_SERVER", "RAYLET")]
    dead = (kind for kind in kinds if any(info.process.poll() is not None for info in processes.get(kind, ())))
    return next(dead, None)


def running_addresses() -> set[str]:
    """Return the addresses of the Rays on this machine."""
    return set(_private(_SERVICES, "find_gcs_addresses")())
