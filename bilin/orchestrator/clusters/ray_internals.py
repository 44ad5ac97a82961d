"""Ray's private names: all that bilin reads or patches of them. What is patched is restored.

Ray may change them with any release, so `pyproject.toml` accepts only the releases that were tried.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray

from bilin.errors import ClusterError
from bilin.machine.host import environment

TRIED = "2.60"  # the releases of Ray that bilin was tried with

_WORKER = "ray._private.worker"
_CONSTANTS = "ray._private.ray_constants"
_PARAMETER = "ray._private.parameter"
_SERVICES = "ray._private.services"
_RAYLET = "ray._raylet"


def _private(module: str, name: str) -> Any:
    """Return a private name. Raises ClusterError if this Ray does not have it."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ClusterError(
            f"Ray {ray.__version__} has no {module}.{name}, which bilin needs; bilin was tried with Ray {TRIED}: "
            f"pip install 'ray=={TRIED}.*'"
        ) from error


@contextmanager
def _patched(module: str, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Replace a private name by what a function makes of it."""
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
            # With ray[default], each node has a small server, for which `ray.init` knows one port; 0: any.
            _patched(_PARAMETER, "RayParams", lambda params: partial(params, dashboard_agent_listen_port=0)),
            environment(settings),
        ):
            read_settings()
            yield
    finally:
        read_settings()


def read_settings() -> None:
    """Have Ray read its environment anew.

    It reads it once, when it is imported, and keeps the token: two Rays in a row in one process (a notebook, a test
    suite) would share the first one's.
    """
    _private(_RAYLET, "Config").initialize("")
    _private(_RAYLET, "AuthenticationTokenLoader").instance().reset_cache()


def dead_process() -> str | None:
    """Return the kind of a process of our own Ray that has died and that Ray cannot do without; None if all live."""
    processes = _private(_WORKER, "_global_node").all_processes
    kinds = [_private(_CONSTANTS, f"PROCESS_TYPE_{kind}") for kind in ("GCS_SERVER", "RAYLET")]
    dead = (kind for kind in kinds if any(info.process.poll() is not None for info in processes.get(kind, ())))
    return next(dead, None)


def running_addresses() -> set[str]:
    """Return the addresses of the Rays on this machine."""
    return set(_private(_SERVICES, "find_gcs_addresses")())
