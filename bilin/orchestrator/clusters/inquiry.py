"""Questions to nodes before a sweep begins, and a folder in the store by which they show that they see it.

    questions ──> `bilin.machine.probe` on every node ──> lines ──> `Answers`

`nodes` asks the nodes of a Ray, `slurm/probe_step` those of a Slurm job, `ask_here` this machine. Without ray.
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
from bilin.machine.probe import Verdict
from bilin.version import __version__

Questions = Mapping[str, Any]
"""What nodes are asked: the argument of `probe.main`, before it is JSON."""

ANSWER_S = 300.0  # how long a node may take to start, load what it needs, and answer

APPEAR_S = 5.0
"""How long a file that a node wrote may take to be seen here: network file systems look again after seconds."""

ABANDONED_S = 3600.0  # age after which a beacon is removed whose process was killed

SKEW_S = 10.0  # how far two clocks may differ: bilin relies on none, but rows and logs contain times


@dataclass(slots=True)
class Answers:
    """What one node has answered so far.

    Attributes:
        name: The node.
        facts: What the node has: ``has``, ``num_trials`` and ``num_nodes``, as `probe.main` prints them.
        verdicts: By the name of a question, what the node concludes.
        error: Why there are no more, if that is known.
    """

    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    verdicts: dict[str, list[Verdict]] = field(default_factory=dict)
    error: str = ""
    _pieces: str = ""

    def add(self, piece: str, *, now: float) -> None:
        """Add a piece of an answer that arrived at a time by the clock here."""
        self._pieces += piece[1:]
        if piece.startswith("."):
            question, answer = json.loads(self._pieces)
            self._pieces = ""
            if question == "node":
                self.name, self.facts = answer["name"], answer
            elif question == "clock":
                self.verdicts["clock"] = [clock(answer - now)]
            else:
                self.verdicts[question] = answer


def clock(ahead_s: float) -> Verdict:
    """Return whether a clock agrees with that of this machine; the difference includes the time an answer takes."""
    if abs(ahead_s) <= SKEW_S:
        return "ok", f"within {SKEW_S:g} s of that here", ""
    found = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} that here"
    return "warning", found, "set it (NTP): the times in rows and logs are wrong, Slurm may refuse it"


def command(python: str, questions: Questions, **known: object) -> list[str]:
    """Return the command line that asks one node.

    What is known of that node follows: its ``place``, by default its number in a Slurm step, and what it ``has``.
    """
    return [python, "-P", "-m", probe.__name__, json.dumps({**questions, **known})]


def read(lines: Iterable[str], answers: dict[str, Answers]) -> None:
    """Add the answers in lines, as they come, to those of each place; other lines are skipped."""
    for line in lines:
        words = line.rstrip("\n").split(" ", 2)
        if len(words) == 3 and words[0] == probe.MARK:
            answers.setdefault(words[1], Answers(words[1])).add(words[2], now=time.time())


def ask_here(questions: Questions) -> dict[str, Answers]:
    """Ask this machine, in a process of its own, as the node at place 0."""
    answers = Answers(platform.node())
    words = command(sys.executable, questions, place="0")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
    read(out.splitlines(), {"0": answers})
    answers.error = last_error(err)
    return {"0": answers}


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
    return {name: version or "none" for name, version in probe.installed_versions(packages).items()}


@dataclass(frozen=True, slots=True)
class Beacon:
    """A folder in the store that exists for a moment, with a file ``here`` that has a known content."""

    folder: Path
    content: str

    def question(self, *, thorough: bool) -> dict[str, Any]:
        """Return the arguments of the question `probe.store`."""
        return {"folder": str(self.folder), "content": self.content, "thorough": thorough}

    def check(self, place: str, node: Answers) -> None:
        """Correct what the node at a place says of the store if the file that it left there is not seen here."""
        verdicts = node.verdicts.get("store")
        if verdicts is None or any(level == "error" for level, *_ in verdicts):
            return
        until = time.monotonic() + APPEAR_S
        while True:
            with suppress(OSError):
                if (self.folder / place).read_text() == place * 1000:
                    return
            if time.monotonic() > until:
                node.verdicts["store"] = [probe.other_store(self.folder.parent)]
                return
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
