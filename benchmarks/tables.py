"""Tables of keys and fields in docs/grid.md, tiers.md and tasks.md, from the declarations in the code.

    python -m benchmarks.tables

Replaces each table in place. `tests/orchestrator/grid/test_docs.py` fails if a table is not what the code declares.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from tests.orchestrator.grid.test_docs import TABLES

ROOT = Path(__file__).resolve().parent.parent


def keys(table: str) -> set[str]:
    return {line.partition(" | ")[0] for line in table.splitlines()[2:]}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for page in ("grid", "tiers", "tasks"):
        path = ROOT / f"docs/{page}.md"
        text = path.read_text()
        for old in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            same_head = [new for new in TABLES.values() if new.splitlines()[0] == old.splitlines()[0]]
            closest = max(same_head, key=lambda new: similarity(new, old), default="")
            if closest and similarity(closest, old) > 0.3:
                text = text.replace(old, f"{closest}\n")
        path.write_text(text)


def similarity(one: str, other: str) -> float:
    """The share of keys that two tables have in common, and a little more for lines that are the same."""
    lines = len(set(one.splitlines()) & set(other.splitlines())) / 1000
    return len(keys(one) & keys(other)) / len(keys(one) | keys(other)) + lines


if __name__ == "__main__":
    main()
