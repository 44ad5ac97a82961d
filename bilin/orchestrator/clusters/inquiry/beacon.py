"""A folder in the store that is there for a moment: by it a node shows that it sees the same store, and may write."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

APPEAR_S = 5.0
"""How long what a node wrote may take to be seen here: network file systems look again after seconds."""

ABANDONED_S = 3600.0
"""How old a beacon is that somebody left who was killed."""


@dataclass(frozen=True, slots=True)
class Beacon:
    """Such a folder, with a file that says ``content``."""

    folder: Path
    content: str

    def question(self, place: str = "") -> dict[str, Any]:
        """What is asked of the node at a place; without one of every node of a Slurm step."""
        return {"folder": str(self.folder), "content": self.content, **({"name": place} if place else {})}

    def fault(self, place: str, said: Mapping[str, Any] | None) -> str:
        """Why the node at a place cannot use the store, in words; empty where it can."""
        store = self.folder.parent
        if said is None:
            return f"does not answer what it sees of the store, {store}: does its disk hang?"
        if error := said.get("error"):
            return f"cannot use the store, {store}: {error}. All nodes must see it at this path, and may write there"
        if not said["is_same"] or not self._has(place):
            return f"sees another folder at {store}: all nodes must see the same store"
        return ""

    def _has(self, place: str) -> bool:
        """Whether what the node wrote is seen here."""
        until = time.monotonic() + APPEAR_S
        while True:
            with suppress(OSError):
                if (self.folder / place).read_text() == place * 1000:
                    return True
            if time.monotonic() > until:
                return False
            time.sleep(0.2)


@contextmanager
def beacon(directory: Path) -> Iterator[Beacon]:
    """A beacon in a folder, which must be there; gone at the end, as those are that were left there before.

    Raises:
        OSError: It cannot be written.
    """
    for left in directory.glob(".seen-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left)
    made = Beacon(directory.absolute() / f".seen-{secrets.token_hex(8)}", secrets.token_hex(32))
    made.folder.mkdir()
    try:
        beside = made.folder / "here.new"
        beside.write_text(made.content)
        beside.replace(made.folder / "here")
        descriptor = os.open(made.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with suppress(OSError):  # what a node says of it counts
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield made
        finally:
            os.close(descriptor)
    finally:
        shutil.rmtree(made.folder, ignore_errors=True)
