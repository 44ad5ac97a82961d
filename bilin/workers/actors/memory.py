"""Whether the kernel killed processes because memory ran out.

Such a process gets a SIGKILL without a reason. But the kernel counts these kills, for each control group (batch
systems and containers have one each) and for the whole machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bilin.machine.host import memory_groups

_MACHINE = Path("/proc/vmstat")


@dataclass(frozen=True, slots=True)
class Killed:
    """How many processes the kernel has killed, and the file that says so."""

    source: Path
    count: int


def killed_here() -> Killed | None:
    """Return the count for this process's control group, or for the machine; None if the kernel gives none."""
    files = [*(group.events for group in memory_groups()), _MACHINE]
    return next((Killed(path, count) for path in files if (count := count_in(path)) is not None), None)


def count_in(path: Path) -> int | None:
    """Return the count in a file; None if it cannot be read."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
