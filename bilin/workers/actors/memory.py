"""Whether the kernel ended processes for want of memory.

A process that is ended so gets a SIGKILL, and nobody says why; but the kernel counts. It does for each control group,
which batch systems and containers have one of, and for the whole machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_MACHINE = Path("/proc/vmstat")
_GROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Killed:
    """How many processes the kernel had ended, by the file that says so."""

    source: Path
    count: int


def killed_here() -> Killed | None:
    """The count for the control group of this process, or for the machine; None where the kernel says none."""
    return next((Killed(path, count) for path in _sources() if (count := count_in(path)) is not None), None)


def count_in(path: Path) -> int | None:
    """The count that a file has; None where it cannot be read."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def _sources() -> list[Path]:
    try:
        lines = _GROUPS.read_text().splitlines()
    except OSError:  # no Linux
        return []
    groups = [line.split(":", 2)[1:] for line in lines]
    version_1 = [_MOUNT / "memory" / path[1:] / "memory.oom_control" for names, path in groups if names == "memory"]
    version_2 = [_MOUNT / path[1:] / "memory.events" for names, path in groups if not names]
    return [*version_1, *version_2, _MACHINE]
