"""The table of a benchmark: printed row by row as it is measured, and written as JSON with the machine."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

Value: TypeAlias = str | int | float | None


class Table:
    """A table in Markdown.

    Args:
        columns: Their headers.
    """

    def __init__(self, *columns: str) -> None:
        self._columns, self._rows = columns, list[tuple[Value, ...]]()
        print(f"{machine()}\n")
        print("| " + " | ".join(columns) + " |")
        print("|---" + "|--:" * (len(columns) - 1) + "|", flush=True)

    def add(self, *values: Value) -> None:
        """Print a row. None is a value that does not exist."""
        self._rows.append(values)
        print("| " + " | ".join(map(_shown, values)) + " |", flush=True)

    def write(self, path: Path | None) -> None:
        """Write all rows with full precision, if a file is given."""
        if path:
            rows = [dict(zip(self._columns, row, strict=True)) for row in self._rows]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


def _shown(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else value


def machine() -> str:
    """Return what the figures depend on: processor, cores, load when they were measured, and versions."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    load = os.getloadavg()[0]
    return f"{processor}, {os.cpu_count()} cores, load {load:.1f}, torch {version('torch')}, bilin {version('bilin')}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
