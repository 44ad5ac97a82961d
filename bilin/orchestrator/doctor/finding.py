"""A line of the doctor's: what was looked at, what was found, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]

HERE = "here"
"""Where the machine is meant that asks."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: ``error`` where a launch would fail or its results be lost.
        where: A node, `HERE`, or what the nodes belong to, as ``Slurm``.
        check: What was looked at, in a word or two.
        found: What was found.
        advice: What to do; empty where nothing is.
    """

    level: Level
    where: str
    check: str
    found: str
    advice: str = ""


def ok(where: str, check: str, found: str) -> Finding:
    """All is well."""
    return Finding("ok", where, check, found)


def warning(where: str, check: str, found: str, advice: str) -> Finding:
    """It would run, though not as one might want."""
    return Finding("warning", where, check, found, advice)


def error(where: str, check: str, found: str, advice: str) -> Finding:
    """It would not run."""
    return Finding("error", where, check, found, advice)


def size(num_bytes: float) -> str:
    """Bytes as a person says them."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if abs(num_bytes) < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"
