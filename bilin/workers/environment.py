"""Where and with what a trial runs, for its row."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from bilin.record import Environment
from bilin.registry import package_of
from bilin.spec import Cell, Resources
from bilin.version import __version__

_worker = ""
_installed = functools.cache(importlib.metadata.version)


def name_worker(name: str) -> None:
    """Say which worker of a pool this process is, for the rows of all trials that it runs."""
    global _worker
    _worker = name


def device_of(resources: Resources) -> str:
    """``cpu`` or ``cuda``: the device that a trial with these resources computes on."""
    if resources.device != "auto":
        return resources.device
    return "cuda" if resources.gpus > 0 else "cpu"


def num_gpus() -> int:
    """Return how many GPUs torch finds for trials in this process."""
    import torch

    return torch.cuda.device_count()


def environment(cell: Cell, resources: Resources, *, pack: int) -> Environment:
    """Return where a trial runs in this process, and with what; ``pack`` is the size of its largest stack."""
    device = device_of(resources)
    return Environment(
        host=socket.gethostname(),
        pid=os.getpid(),
        worker=_worker,
        device=device,
        threads=resources.threads,
        pack=pack,
        cpu=_cpu(),
        python=platform.python_version(),
        torch=_installed("torch"),
        version=__version__,
        commit=_commit(),
        task_package=package_of(type(cell.task)),
        tier_package=package_of(type(cell.model)),
        **(_gpu() if device == "cuda" else {}),
    )


def _gpu() -> dict[str, Any]:
    """Return the name and memory of the GPU; nothing if it has failed, or if there is none."""
    import torch

    try:
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    except (RuntimeError, AssertionError):
        return {}
    return {"gpu": properties.name, "gpu_memory_mb": round(properties.total_memory / 1e6)}


@functools.cache
def _cpu() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def _commit() -> str | None:
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():  # installed: a repository further up would be another project's
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
