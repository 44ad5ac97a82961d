"""Processes by more than their number, which the system gives to another when they have ended."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process on some machine.

    Attributes:
        boot: Which start of its machine it belongs to; empty where the system does not say.
        space: Within which its number means it; a container has a space of its own.
        began: When it was started, as its system counts.
    """

    host: str
    boot: str
    space: str
    pid: int
    began: str

    @classmethod
    def own(cls) -> Self:
        """This process."""
        return cls(host=socket.gethostname(), boot=_boot(), space=_space(), pid=os.getpid(), began=_began(os.getpid()))

    @property
    def is_own(self) -> bool:
        """Whether it is this process."""
        return self.is_here and self.pid == os.getpid() and self.began == _began(os.getpid())

    @property
    def is_here(self) -> bool:
        """Whether its number can be looked up from this process."""
        return self.shares_system and self.space == _space()

    @property
    def shares_system(self) -> bool:
        """Whether it is of the same system as this process, since the system's last start."""
        return bool(self.boot) and self.boot == _boot()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended; to be asked only of one that `is_here`."""
        return bool(self.began) and _began(self.pid) == self.began


def _began(pid: int) -> str:
    """When a process was started; empty where it has ended."""
    if sys.platform != "linux":
        said = _said("ps", "-o", "stat=,lstart=", "-p", str(pid))
        return "" if said.startswith("Z") else said.partition(" ")[2].strip()
    try:
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] in "ZX" else words[19]  # one that has ended may wait for its parent to hear of it


@functools.cache
def _boot() -> str:
    if sys.platform != "linux":
        return _said("sysctl", "-n", "kern.bootsessionuuid")
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@functools.cache
def _space() -> str:
    if sys.platform != "linux":
        return ""
    return str(Path("/proc/self/ns/pid").readlink())


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
