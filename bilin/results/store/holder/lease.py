"""A file that says who writes a sweep, and that its writer renews while it lives.

Whether it is renewed is seen by reading it again: no clock of another machine is believed, and none that can jump.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from bilin.results.store.holder.process import Process

FILE = "lease.json"

RENEW_S = 10.0
"""How often a writer renews its lease."""

LAPSE_S = 60.0
"""How long another process watches a lease that is not renewed before it takes it."""

RAY_JOB = "BILIN_RAY_JOB"
"""Names the Ray job that this process is, in the environment that it is started with."""

_ROOM = 16  # for the number of renewals to grow


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that writes a sweep.

    Attributes:
        started_at: Since when, in UTC by its machine's clock.
        slurm_job: The Slurm job that it is part of; empty where it is not.
        ray_job: The Ray job that it is; empty where it is none.
        renewals: How often it has renewed its lease.
        silent_s: Seconds since it was last heard of, above 0 where it is not known to live; as exact as two clocks.
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
        """This process, from now on."""
        return cls(
            process=Process.own(),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command[:2000],
            slurm_job=os.environ.get("SLURM_JOB_ID", ""),
            ray_job=os.environ.get(RAY_JOB, ""),
        )

    @property
    def host(self) -> str:
        """The machine that it runs on."""
        return self.process.host

    @property
    def pid(self) -> int:
        """Its number there."""
        return self.process.pid

    def __str__(self) -> str:
        jobs = f", Slurm job {self.slurm_job}" * bool(self.slurm_job) + f", Ray job {self.ray_job}" * bool(self.ray_job)
        return f"process {self.pid} on {self.host}{jobs} since {self.started_at} ({self.command})"


UNKNOWN = Holder(
    process=Process(host="an unknown host", boot="", space="", pid=0, began=""), started_at="just now", command="?"
)
"""The writer where its file cannot be understood: it may be about to write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A lease as it was read once; another one where its writer has renewed it since.

    Attributes:
        age_s: Seconds since it was renewed, by the clocks of two machines: for people alone.
    """

    holder: Holder
    content: bytes
    age_s: float = field(compare=False)


class Lease:
    """The lease of this process on a sweep's folder."""

    def __init__(self, directory: Path, holder: Holder) -> None:
        self._path = directory / FILE
        self._holder = holder
        self._token = secrets.token_hex(8)
        self._size = len(self._text(0)) + _ROOM
        self._renewals = 0
        self._descriptor = -1

    def create(self) -> bool:
        """Whether there was none, and now there is this one."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        try:
            self._write(descriptor)
        except OSError:
            self._path.unlink()
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def remove(self) -> None:
        """Remove whichever lease there is."""
        self._path.unlink(missing_ok=True)

    def renew(self) -> None:
        """Show that this process lives. Where the lease was taken this writes to a file that has no name any more."""
        self._renewals += 1
        self._write(self._descriptor)

    def taken_by(self) -> Holder | None:
        """Who has the sweep now, where it is no longer this process."""
        seen = read_lease(self._path.parent)
        return None if seen is None or self._token.encode() in seen.content else seen.holder

    def close(self) -> None:
        """Give it back, unless it was taken."""
        with suppress(OSError):
            if self.taken_by() is None:
                self.remove()
        self.forget()

    def forget(self) -> None:
        """Leave it to whoever has it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, descriptor: int) -> None:
        os.pwrite(descriptor, self._text(self._renewals).ljust(self._size), 0)
        os.fsync(descriptor)  # or a network file system may keep it to itself until the file is closed

    def _text(self, renewals: int) -> bytes:
        fields = asdict(replace(self._holder, renewals=renewals))
        del fields["silent_s"]
        return json.dumps({**fields, "token": self._token}).encode()


def read_lease(directory: Path) -> Seen | None:
    """The lease on a sweep's folder; None where there is none."""
    try:
        with (directory / FILE).open("rb") as file:
            content = file.read()
            renewed_at = os.fstat(file.fileno()).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None
    age_s = max(time.time() - renewed_at, 0.0)
    return Seen(holder=_parse(content), content=content, age_s=age_s)


def silent(seen: Seen) -> Holder:
    """A writer that is not known to live, with how long it has been silent."""
    return replace(seen.holder, silent_s=max(seen.age_s, 1e-3))


_KINDS = {"host": str, "boot": str, "space": str, "pid": int, "began": str}
_SAID = ("started_at", "command", "slurm_job", "ray_job")


def _parse(content: bytes) -> Holder:
    try:
        found: dict[str, Any] = json.loads(content)
        process = Process(**{name: _KINDS[name](value) for name, value in found["process"].items()})
        said: dict[str, Any] = {name: str(found[name]) for name in _SAID if name in found}
        return replace(UNKNOWN, process=process, renewals=int(found["renewals"]), **said)
    except (ValueError, TypeError, KeyError, AttributeError):
        return UNKNOWN
