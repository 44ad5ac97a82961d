"""Checks of nodes before a sweep begins, and a folder in the store that shows whether they see it.

    questions ──> `bilin.machine.probe` on every node ──> lines ──> `Answers` ──> findings

`nodes` asks the nodes of a Ray, `slurm/probe_step` those of a Slurm job, `ask_here` this machine. Without ray.
"""

from __future__ import annotations

import fcntl
import json
import platform
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bilin.folder import PROBE
from bilin.machine import probe
from bilin.machine.probe import Level
from bilin.version import __version__

Questions = Mapping[str, Any]
"""What nodes are asked: the argument of `probe.main`, as plain values."""

APPEAR_S = 5.0
"""How long a file that a node wrote may take to be seen here: network file systems look again after seconds."""

ABANDONED_S = 3600.0  # age after which the beacon of a killed process is removed

SKEW_S = 10.0  # how far two clocks may differ: bilin relies on none, but rows and logs contain times


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked.

    Attributes:
        level: ``error`` if a launch would fail or its results be lost, ``warning`` if it would run, but not well.
        where: A node, ``here`` for this machine, or what the nodes belong to, such as ``Slurm``.
        check: What was checked, in a word or two.
        found: What was found.
        advice: What to do; empty for nothing.
    """

    level: Level
    where: str
    check: str
    found: str
    advice: str = ""


@dataclass(slots=True)
class Answers:
    """What one node has answered so far.

    Attributes:
        name: The node.
        facts: The fields of `probe.Here`.
        findings: What it found.
        error: Why answers are missing, if that is known.
    """

    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    error: str = ""

    def add(self, name: str, answer: Any, *, now: float) -> None:
        """Add an answer that arrived at a time by the clock here."""
        if name == "node":
            self.name, self.facts = answer["name"], answer
            return
        level, found, advice = clock(answer - now) if name == "clock" else answer
        self.findings.append(Finding(level, self.name, name, found, advice))

    def conclude(self, place: str, checks: Iterable[str], beacon: Path | None) -> Iterator[Finding]:
        """Yield what the node at a place found, and which checks it did not answer.

        If it found a store that it can use, but left nothing in the beacon, it sees another store.
        """
        answered = {finding.check for finding in self.findings}
        if silent := [check for check in checks if check not in answered]:
            why = f" ({self.error})" if self.error else ""
            advice = "Check that node: a check that does not answer hangs or did not start"
            yield Finding("error", self.name, "answers", f"no answer about {', '.join(silent)}{why}", advice)
        of_store = [finding for finding in self.findings if finding.check == "store"]
        sees_another = (
            beacon and of_store and all(each.level != "error" for each in of_store) and not _appears(beacon / place)
        )
        yield from (finding for finding in self.findings if not (sees_another and finding in of_store))
        if beacon and sees_another:
            level, found, advice = probe.other_store(beacon.parent)
            yield Finding(level, self.name, "store", found, advice)


def _appears(path: Path) -> bool:
    """Wait for a file, and return whether it came."""
    until = time.monotonic() + APPEAR_S
    while not (exists := path.exists()) and time.monotonic() < until:
        time.sleep(0.2)
    return exists


def clock(ahead_s: float) -> probe.Verdict:
    """Return whether a clock agrees with that of this machine; the difference includes the time an answer takes."""
    if abs(ahead_s) <= SKEW_S:
        return "ok", f"within {SKEW_S:g} s of that here", ""
    found = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} that here"
    return "warning", found, "set it (NTP): the times in rows and logs are wrong, Slurm may refuse it"


def command(python: str, questions: Questions, **known: object) -> list[str]:
    """Return the command line that asks one node.

    Give what is known of that node: its ``place``, by default its number in a Slurm step, and what it ``has``.
    """
    return [python, "-P", "-m", probe.__name__, json.dumps({**questions, **known})]


def read(lines: Iterable[str], answers: dict[str, Answers]) -> None:
    """Add each answer in the lines to those of its place, as it comes; skip other text."""
    for line in lines:
        _, mark, answer = line.partition(f"{probe.MARK} ")
        if mark:
            place, _, text = answer.partition(" ")
            answers.setdefault(place, Answers(place)).add(*json.loads(text), now=time.time())


def ask_here(questions: Questions) -> dict[str, Answers]:
    """Ask this machine, in a separate process, as the node at place 0."""
    argv = command(sys.executable, questions, place="0")
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    answers = Answers(platform.node(), error=last_error(ended.stderr, ended.returncode))
    read(ended.stdout.splitlines(), {"0": answers})
    return {"0": answers}


def last_error(text: str, exit_code: int = 0) -> str:
    """Return the last line that a node's process wrote to standard error, explained if bilin could not be loaded."""
    line = next(iter(text.strip().splitlines()[::-1]), f"exit code {exit_code}" if exit_code else "")[:500]
    if missing := re.search(r"No module named '?(bilin[.\w]*)", line):
        python = line.partition(": ")[0]
        if missing.group(1) == "bilin":
            return f"bilin is not installed for {python}. Install bilin {__version__} there"
        return f"has another bilin for {python}; here: {__version__}; use the same version on all nodes and here"
    return line


@contextmanager
def open_beacon(directory: Path) -> Iterator[Path]:
    """Make a beacon in an existing folder: a folder in which nodes leave files, with a lock that this process holds.

    It is removed at the end. Those of processes that were killed are removed first.

    Raises:
        OSError: It cannot be written.
    """
    for left in directory.glob(f"{PROBE}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left)
    beacon = directory.absolute() / f"{PROBE}{secrets.token_hex(8)}"
    beacon.mkdir()
    try:
        with (beacon / "lock").open("w") as lock:
            with suppress(OSError):  # the nodes say whether locks work
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield beacon
    finally:
        shutil.rmtree(beacon, ignore_errors=True)
