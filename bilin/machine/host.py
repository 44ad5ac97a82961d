"""This host as its processes see it: processors, GPUs, memory, disk space and addresses."""

from __future__ import annotations

import math
import os
import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bilin.errors import InputError

ROUNDING = 1e-9  # error that sums of fractions of a CPU or GPU may have

PORTS = range(20_000, 32_768)  # above Ray's own default ports, below those that Linux gives to whoever asks for any

_NVIDIA = Path("/proc/driver/nvidia")  # has a folder for each GPU; loading torch to count them takes seconds
_MOUNT = Path("/sys/fs/cgroup")
_UNLIMITED = 2**60  # version 1 of control groups writes a number above this one where there is no limit


def num_cpus() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_gpus(driver: Path = _NVIDIA) -> int:
    """Return how many GPUs this process may use.

    Those that Slurm gave to this node, or else those that CUDA_VISIBLE_DEVICES names, or else those that the driver
    has. A job that asked Slurm for no GPU has none.
    """
    if given := os.environ.get("SLURM_GPUS_ON_NODE"):
        return int(given)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return 0 if visible in ("", "-1", "NoDevFiles") else len(visible.split(","))
    return 0 if "SLURM_JOB_ID" in os.environ else len(list(driver.glob("gpus/*")))


def num_fitting(has: Mapping[str, float], amounts: Mapping[str, float]) -> float:
    """Return how many workers of one size a node holds, if it holds no others; amounts are by Ray's names."""
    counts = [math.inf]
    for name, amount in amounts.items():
        if name == "GPU" and amount < 1:  # a fraction is taken from a single GPU
            counts.append(math.floor(has.get(name, 0.0) * math.floor(1 / amount + ROUNDING) + ROUNDING))
        else:
            counts.append(math.floor(has.get(name, 0.0) / amount + ROUNDING))
    return min(counts)


def own_address(peer: str) -> str:
    """Return the address of this host on the way to another. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((peer, 9))
        return str(probe.getsockname()[0])


def host_and_port(address: str) -> tuple[str, int]:
    """Split an address. Raises InputError if it is not one."""
    try:
        parts = urlsplit(address if "//" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        fault = str(error)
    else:
        if host and port:
            return host, port
        fault = "it has no port" if host else "it has no host"
    raise InputError(f"address {address!r} cannot be read: {fault}; accepted: HOST:PORT, ray://HOST:PORT or auto")


def connection_error(host: str, port: int, timeout_s: float) -> str:
    """Return why a port cannot be connected to; empty if it can."""
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except OSError as error:
        return reason(error)
    return ""


def free_ports(count: int) -> list[int]:
    """Return different ports that are free now, and that nobody gets who asks for any free port.

    Ray binds them seconds later. Meanwhile srun, other jobs and Ray itself ask for many ports.
    """
    free: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            free.append(port)
        if len(free) == count:
            break
    return free


def free_bytes(path: Path | str) -> int:
    """Return how many bytes a user who is not root may still write on the disk of a path."""
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


def reason(error: BaseException) -> str:
    """Return an error in one line."""
    if isinstance(error, OSError) and error.errno:
        text = os.strerror(error.errno)
        return f"{text}: {error.filename}" if error.filename else text
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A control group that counts memory.

    Attributes:
        mount: The root of the hierarchy of groups.
        folder: The group's own folder.
        version: 1 or 2, of the kernel's interface.
    """

    mount: Path
    folder: Path
    version: int

    @property
    def events(self) -> Path:
        """The file that counts the processes that the kernel killed."""
        return self.folder / ("memory.oom_control" if self.version == 1 else "memory.events")

    def available(self) -> Iterator[int]:
        """Yield the bytes that are left in this group and in each one around it that has a limit."""
        names = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes")
            if self.version == 1
            else ("memory.max", "memory.current")
        )
        for folder in (self.folder, *self.folder.parents):
            if folder.is_relative_to(self.mount) and (folder / names[0]).exists():
                limit, used = ((folder / name).read_text().strip() for name in names)
                if limit != "max" and int(limit) < _UNLIMITED:
                    yield int(limit) - int(used) + cached_bytes(folder)


def memory_groups() -> list[MemoryGroup]:
    """Return the control groups of this process that count memory; empty outside of Linux."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    groups = [line.split(":", 2)[1:] for line in lines]
    of_version_1 = [
        MemoryGroup(_MOUNT / "memory", _MOUNT / "memory" / path[1:], 1) for name, path in groups if name == "memory"
    ]
    return of_version_1 + [MemoryGroup(_MOUNT, _MOUNT / path[1:], 2) for name, path in groups if not name]


def cached_bytes(group: Path) -> int:
    """Return the bytes of cached files in a control group's use: the kernel frees them when memory runs short."""
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    counts = dict(line.split() for line in lines)
    return int(counts.get("total_inactive_file") or counts.get("inactive_file") or 0)


def memory_bytes() -> tuple[int, int]:
    """Return the memory of this host in bytes, and how much of it this process and its children can still get."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    return total, min([available, *(left for group in memory_groups() for left in group.available())])


@contextmanager
def environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables of this process for a while; None unsets one."""

    def change(new: Mapping[str, str | None]) -> None:
        for name, value in new.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    before = {name: os.environ.get(name) for name in values}
    change(values)
    try:
        yield
    finally:
        change(before)
