"""Questions to nodes before a sweep begins, and a folder in the store by which they show that they see it.

    questions ──> `bilin.machine.probe` on every node ──> lines ──> `Answers`

`nodes` asks the nodes of a Ray, `slurm/step` those of a Slurm job, `ask_here` this machine. Without ray.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bilin.folder import PROBE
from bilin.machine import probe
from bilin.version import __version__

Questions = Mapping[str, Mapping[str, Any]]
"""Arguments by the name of a question, of `probe.QUESTIONS`."""

ANSWER_S = 300.0  # how long a node may take to start, load what it needs, and answer

APPEAR_S = 5.0
"""How long a file that a node wrote may take to be seen here: network file systems look again after seconds."""

ABANDONED_S = 3600.0  # age after which a beacon is removed whose process was killed


@dataclass(slots=True)
class Answers:
    """What one node has answered so far.

    Attributes:
        name: The node.
        records: By the name of a question, its record, as the functions of `probe` return it.
        error: Why there are no more, if that is known.
        ahead_s: How far its clock is ahead of the one here; negative if it is behind. It includes the time that the
            answer took.
    """

    name: str
    records: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    ahead_s: float = 0.0
    _pieces: str = ""

    def add(self, piece: str, *, now: float) -> None:
        """Add a piece of an answer that arrived at a time by the clock here."""
        self._pieces += piece[1:]
        if piece.startswith("."):
            name, record = json.loads(self._pieces)
            self._pieces = ""
            self.records[name] = record
            if name == "clock":
                self.ahead_s = record["now"] - now
            if name == "room":
                self.name = record.get("name", self.name)


def command(python: str, questions: Questions, *, place: str = "") -> list[str]:
    """Return the command line that asks one node; ``place`` identifies it in its answers."""
    return [python, "-P", "-m", probe.__name__, json.dumps({**({"place": place} if place else {}), **questions})]


def read(lines: Iterable[str], answers: dict[str, Answers]) -> None:
    """Add the answers in lines, as they come, to those of each place; other lines are skipped."""
    for line in lines:
        words = line.rstrip("\n").split(" ", 2)
        if len(words) == 3 and words[0] == probe.MARK:
            answers.setdefault(words[1], Answers(words[1])).add(words[2], now=time.time())


def ask_here(questions: Questions, *, place: str = "0") -> Answers:
    """Ask this machine, in a process of its own."""
    answers = Answers(platform.node())
    words = command(sys.executable, questions, place=place)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
    read(out.splitlines(), {place: answers})
    answers.error = last_error(err)
    return answers


def last_error(text: str) -> str:
    """Return the last line that a node's process wrote to standard error, explained if bilin could not be loaded."""
    line = next(iter(text.strip().splitlines()[::-1]), "")[:500]
    if missing := re.search(r"No module named '?(bilin[.\w]*)", line):
        python = line.partition(": ")[0]
        if missing.group(1) == "bilin":
            return f"bilin is not installed for {python}. Install bilin {__version__} there"
        return f"has another bilin for {python}; here: {__version__}. Use the same version on all nodes and here"
    return line


def own_versions(packages: Collection[str]) -> dict[str, str]:
    """Return the versions of Python and of packages here, as a node reports its own."""
    return {name: version or "none" for name, version in probe.versions(list(packages)).items()}


def other_versions(own: Mapping[str, str], there: Mapping[str, str | None]) -> dict[str, str]:
    """Return what is wrong with the versions of a node, by the name of the package."""
    faults = {}
    for name, here in own.items():
        version = there.get(name)
        if version is None:
            faults[name] = f"has no {name}; here: {here}. Install it there too"
        elif version != here:
            faults[name] = f"has {name} {version}; here: {here}. Use the same version on all nodes and here"
    return faults


@dataclass(frozen=True, slots=True)
class Beacon:
    """A folder in the store that exists for a moment, with a file ``here`` that has a known content."""

    folder: Path
    content: str

    def question(self, place: str = "") -> dict[str, Any]:
        """Return the arguments of the question `probe.store`; without a place, for every node of a Slurm step."""
        return {"folder": str(self.folder), "content": self.content, **({"name": place} if place else {})}

    def fault(self, place: str, record: Mapping[str, Any] | None) -> str:
        """Return why the node at a place cannot use the store; empty if it can."""
        store = self.folder.parent
        if record is None:
            return f"did not answer what it sees of the store, {store}. Does its disk hang?"
        if error := record.get("error"):
            return f"cannot use the store, {store}: {error}. All nodes must see it at this path, and be able to write"
        if not record["is_same"] or not self._has(place):
            return f"sees another folder at {store}: all nodes must see the same store"
        return ""

    def _has(self, place: str) -> bool:
        """Return whether what the node wrote is seen here."""
        until = time.monotonic() + APPEAR_S
        while True:
            with suppress(OSError):
                if (self.folder / place).read_text() == place * 1000:
                    return True
            if time.monotonic() > until:
                return False
            time.sleep(0.2)


@contextmanager
def open_beacon(directory: Path) -> Iterator[Beacon]:
    """Make a beacon in an existing folder, and remove it at the end, with old ones whose process was killed.

    Raises:
        OSError: It cannot be written.
    """
    for left in directory.glob(f"{PROBE}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left)
    beacon = Beacon(directory.absolute() / f"{PROBE}{secrets.token_hex(8)}", secrets.token_hex(32))
    beacon.folder.mkdir()
    try:
        beside = beacon.folder / "here.new"
        beside.write_text(beacon.content)
        beside.replace(beacon.folder / "here")
        descriptor = os.open(beacon.folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with suppress(OSError):  # what a node says about it counts
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield beacon
        finally:
            os.close(descriptor)
    finally:
        shutil.rmtree(beacon.folder, ignore_errors=True)
