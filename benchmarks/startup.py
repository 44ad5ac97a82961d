"""Duration of `bilin --help`, compared with an empty Typer app with the same number of commands.

    python -m benchmarks.startup [--runs 20]

The two run in turn, as processes. Prints the medians and their ratio. The target is 1.5.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

EMPTY = """
import typer

app = typer.Typer()
for group, count in ({groups}):
    below = typer.Typer()
    for number in range(count):
        below.command(f"command{{number}}")(lambda: None)
    app.add_typer(below, name=group)
app()
"""


def groups() -> list[tuple[str, int]]:
    """Return the groups of the command line, each with its number of commands."""
    from bilin.cli.app import app

    return [
        (str(group.name), len(group.typer_instance.registered_commands))
        for group in app.registered_groups
        if group.typer_instance is not None
    ]


def seconds(command: list[str]) -> float:
    """Return the wall time of one process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    ours = [sys.executable, "-m", "bilin", "--help"]
    empty = [sys.executable, "-c", EMPTY.format(groups=", ".join(map(repr, groups()))), "--help"]
    pairs = [(seconds(ours), seconds(empty)) for _ in range(runs + 1)][1:]
    mine, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"bilin --help {1000 * mine:.0f} ms, empty app {1000 * theirs:.0f} ms, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
