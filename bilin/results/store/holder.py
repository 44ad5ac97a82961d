"""The process that writes a sweep, and the lease by which other machines know of it.

The locks of some network file systems do not reach other machines. So a writer also keeps a file, the lease, which
it renews while it lives. Whether it is renewed is seen by reading it again: clocks of other machines are not
trusted, nor is a clock that can jump.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from bilin.folder import SweepFolder

RAY_JOB = "BILIN_RAY_JOB"
"""Environment variable with the name of the Ray job that this process is."""

_PADDING = 40  # room for the numbers in it to grow


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process on some machine, told apart from a later one with the same number.

    Attributes:
        boot: The start of its machine; empty if the system does not tell.
        space: The namespace of its number; a container has its own.
        began: When it was started, in the system's own unit.
    """

    host: str
    boot: str
    space: str
    pid: int
    began: str

    @classmethod
    def own(cls) -> Self:
        """Return this process."""
        return cls(
            host=socket.gethostname(), boot=_boot(), space=_space(), pid=os.getpid(), began=_start_of(os.getpid())
        )

    @property
    def is_own(self) -> bool:
        """Whether it is this process."""
        return self.is_here and self.pid == os.getpid() and self.began == _start_of(os.getpid())

    @property
    def is_here(self) -> bool:
        """Whether this process can look up its number."""
        return self.shares_system and self.space == _space()

    @property
    def shares_system(self) -> bool:
        """Whether it belongs to the same system as this process, since the system's last start."""
        return bool(self.boot) and self.boot == _boot()

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended. Valid only if `is_here`."""
        return bool(self.began) and _start_of(self.pid) == self.began


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that writes a sweep.

    Attributes:
        started_at: When it began to write, in UTC by its machine's clock.
        slurm_job: The Slurm job that it is part of, or empty.
        ray_job: The Ray job that it is, or empty.
        renewals: How often it has renewed its lease.
        silent_s: Seconds since it last renewed its lease, as exact as two clocks agree; 0 if it is known to live.
    """

    process: Process
    started_at: str
    command: str
    slurm_job: str = ""
    ray_job: str = ""
    renewals: int = 0
    silent_s: float = 0.0

    @classmethod
    def own(cls, command: str) -> Self:
        """Return this process, as a writer that begins now."""
        return cls(
            process=Process.own(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command[:2000],
            slurm_job=os.environ.get("SLURM_JOB_ID", ""),
            ray_job=os.environ.get(RAY_JOB, ""),
        )

    @property
    def host(self) -> str:
        """Its machine."""
        return self.process.host

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    @property
    def is_known(self) -> bool:
        """Whether its lease says which process it is."""
        return bool(self.process.host)

    @property
    def place(self) -> str:
        """Its machine and number."""
        return f"pid {self.pid} on {self.host}" if self.is_known else "a process that lease.json does not name"

    def __str__(self) -> str:
        if not self.is_known:
            return self.place
        jobs = f", Slurm job {self.slurm_job}" * bool(self.slurm_job) + f", Ray job {self.ray_job}" * bool(self.ray_job)
        return f"process {self.pid} on {self.host}{jobs} since {self.started_at} ({self.command})"


UNKNOWN = Holder(process=Process(host="", boot="", space="", pid=0, began=""), started_at="", command="")
"""The writer if its lease cannot be parsed: it may be about to write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseReading:
    """A lease as it was read once. It differs from an earlier reading if its writer has renewed it.

    Attributes:
        age_s: Seconds since it was renewed, by the clocks of two machines; only for display.
        is_copy: Whether it was copied with the sweep's folder, so that nobody renews it. Known only on the machine
            of the writer.
    """

    holder: Holder
    content: bytes
    age_s: float = field(compare=False)
    is_copy: bool = False


class Lease:
    """The lease of one process on a sweep's folder."""

    def __init__(self, folder: SweepFolder, holder: Holder) -> None:
        self._folder = folder
        self._holder = holder
        self._token = secrets.token_hex(8)
        self._inode = 0
        self._renewals = 0
        self._size = len(self._text()) + _PADDING
        self._descriptor = -1

    def create(self) -> bool:
        """Create the file, and return whether there was none before."""
        try:
            descriptor = os.open(self._folder.lease, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        self._inode = os.fstat(descriptor).st_ino
        try:
            self._write(descriptor)
        except OSError:
            self.remove()
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def remove(self) -> None:
        """Remove the lease, whoever holds it."""
        self._folder.lease.unlink(missing_ok=True)

    def renew(self) -> None:
        """Show that this process lives. After a takeover, this writes to a file without a name."""
        self._renewals += 1
        self._write(self._descriptor)

    def taken_by(self) -> Holder | None:
        """Return the process that has taken the sweep over, if one has."""
        reading = read_lease(self._folder)
        return None if reading is None or self._token.encode() in reading.content else reading.holder

    def moved(self, folder: SweepFolder) -> None:
        """Take note that the folder was renamed."""
        self._folder = folder

    def close(self) -> None:
        """Give the lease back, unless another process has taken it."""
        with suppress(OSError):
            if self.taken_by() is None:
                self.remove()
        self.forget()

    def forget(self) -> None:
        """Leave the lease to the process that has taken it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, descriptor: int) -> None:
        os.pwrite(descriptor, self._text().ljust(self._size), 0)
        os.fsync(descriptor)  # a network file system may otherwise keep it until the file is closed

    def _text(self) -> bytes:
        fields = asdict(replace(self._holder, renewals=self._renewals))
        del fields["silent_s"]
        return json.dumps({**fields, "token": self._token, "inode": self._inode}).encode()


def read_lease(folder: SweepFolder) -> LeaseReading | None:
    """Return the lease on a sweep's folder, or None."""
    try:
        with folder.lease.open("rb") as file:
            content = file.read()
            status = os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return None
    holder, inode = _parse(content)
    return LeaseReading(
        holder=holder,
        content=content,
        age_s=max(time.time() - status.st_mtime, 0.0),
        is_copy=inode is not None and inode != status.st_ino and holder.process.shares_system,
    )


def _parse(content: bytes) -> tuple[Holder, int | None]:
    types = {"host": str, "boot": str, "space": str, "pid": int, "began": str}
    optional = ("started_at", "command", "slurm_job", "ray_job")
    try:
        document: dict[str, Any] = json.loads(content)
        process = Process(**{name: types[name](value) for name, value in document["process"].items()})
        texts: dict[str, Any] = {name: str(document[name]) for name in optional if name in document}
        inode = int(document["inode"]) if "inode" in document else None
        return replace(UNKNOWN, process=process, renewals=int(document["renewals"]), **texts), inode
    except (ValueError, TypeError, KeyError, AttributeError):
        return UNKNOWN, None


def _start_of(pid: int) -> str:
    """Return when a process was started; empty if it has ended."""
    if sys.platform != "linux":
        state, _, started = _output("ps", "-o", "stat=,lstart=", "-p", str(pid)).partition(" ")
        return "" if state.startswith("Z") else started.strip()
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # a zombie has ended, though its parent has not yet waited for it


@functools.cache
def _boot() -> str:
    if sys.platform != "linux":
        return _output("sysctl", "-n", "kern.bootsessionuuid")
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@functools.cache
def _space() -> str:
    return "" if sys.platform != "linux" else str(Path("/proc/self/ns/pid").readlink())


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
