"""The other side of `node`: the command that asks, and its lines put together again."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bilin.orchestrator.clusters.inquiry import node

Questions = Mapping[str, Mapping[str, Any]]
"""Arguments by the name of a question, of `node.QUESTIONS`."""

ANSWER_S = 300.0
"""How long a node may take to start, load what it needs, and answer."""

SAFE = {"PYTHONSAFEPATH": "1"}
"""In the environment of a node: what lies in its working folder is not what Python loads."""


@dataclass(slots=True)
class Answers:
    """What one node has answered so far.

    Attributes:
        name: The node.
        said: By the name of a question, its record, as the functions of `node` return them.
        error: Why there are no more, if that is known.
        ahead_s: How far its clock is ahead of the one here; less than 0: behind, by that or less.
    """

    name: str
    said: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    ahead_s: float = 0.0
    _pieces: str = ""

    def take(self, piece: str, *, now: float) -> None:
        """Take a piece of an answer, which has arrived at a time by the clock here."""
        self._pieces += piece[1:]
        if piece.startswith("."):
            name, record = json.loads(self._pieces)
            self._pieces = ""
            self.said[name] = record
            if name == "clock":
                self.ahead_s = record["now"] - now
            if name == "room":
                self.name = record.get("name", self.name)


def command(python: str, questions: Questions, *, place: str = "") -> list[str]:
    """The command line that asks one node."""
    named = {"place": place} if place else {}
    source = Path(node.__file__).read_text()
    return [python, "-c", source, json.dumps({**named, **questions})]


def read(lines: Iterable[str], answers: dict[str, Answers]) -> None:
    """Take the answers out of lines as they come.

    Args:
        lines: What the command prints, and others between.
        answers: By the place of a node, what it has said; grows.
    """
    for line in lines:
        words = line.rstrip("\n").split(" ", 2)
        if len(words) == 3 and words[0] == node.MARK:
            answers.setdefault(words[1], Answers(words[1])).take(words[2], now=time.time())


def ask_here(questions: Questions, *, place: str = "0") -> Answers:
    """Ask this machine, in a process of its own."""
    answers = {place: Answers(platform.node())}
    with subprocess.Popen(
        command(sys.executable, questions, place=place), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as asked:
        assert asked.stdout is not None
        assert asked.stderr is not None
        limit = threading.Timer(ANSWER_S, asked.kill)
        limit.start()
        try:
            read(asked.stdout, answers)
            answers[place].error = last_line(asked.stderr.read())
        finally:
            limit.cancel()
    return answers[place]


def last_line(text: str) -> str:
    """The last line of what a process wrote to its standard error."""
    return next(iter(text.strip().splitlines()[::-1]), "")[:500]


def own_versions(packages: Collection[str]) -> dict[str, str]:
    """The version of Python and of packages here, as a node says its own."""
    return {name: found or "none" for name, found in node.versions(list(packages)).items()}


def other_versions(own: Mapping[str, str], there: Mapping[str, str | None]) -> dict[str, str]:
    """What is wrong with the versions of a node: by name, in words."""
    found = {}
    for name, here in own.items():
        version = there.get(name)
        if version is None:
            found[name] = f"has no {name}; here: {here}. Install it there too"
        elif version != here:
            found[name] = f"has {name} {version}; here: {here}. Use the same version on all nodes and here"
    return found
