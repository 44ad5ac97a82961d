"""Which functions receive a value, from where it is read to where it is used: three walks, as Markdown.

    python -m benchmarks.walks            print the walks
    python -m benchmarks.walks --write    replace them in docs/architecture.md

Each walk runs real code under a profiler and lists the functions of bilin with an argument whose ``repr`` shows the
value, in the order of their first calls. Values are chosen so that nothing else looks like them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- walks: `python -m benchmarks.walks --write` -->", "<!-- end of walks -->"

GRID = """
name: walk
tasks: [{name: modular_addition, m: [9973, 9967]}]
models: [{tier: real_diagonal, hidden: 2, embedding: 2}]
train: {steps: 3, batch_size: 2, stop_when_solved: false}
validate: {every: 2, lengths: [3], num_sequences: 2}
test: {lengths: [4], num_sequences: 2}
learning_rate: {choices: [1e-3]}
"""

_HIDDEN = re.compile(r"<(lambda|genexpr|listcomp|dictcomp|module)>|__\w+__|_?read_\w*settings")


class Walk:
    """The functions that receive a value while the walk is active."""

    def __init__(self, value: str) -> None:
        """Follow a value, which is no part of a longer word or number in a ``repr``."""
        self._of_threads: dict[int, dict[str, None]] = {threading.get_ident(): {}}
        self._value = re.compile(rf"(?<![\w.]){re.escape(value)}(?![\w.])")
        self._busy = threading.local()

    @property
    def passed(self) -> dict[str, None]:
        """Names of functions, such as ``bilin.rules.select_lr``, in the order of their first calls.

        Those of this thread come first, since the order between threads differs from run to run.
        """
        return {name: None for names in self._of_threads.values() for name in names}

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Record calls in all threads."""
        threading.setprofile(self._record)
        sys.setprofile(self._record)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _record(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or getattr(self._busy, "now", False):
            return
        code = frame.f_code
        name = f"{frame.f_globals.get('__name__', '')}.{code.co_qualname}"
        passed = self._of_threads.setdefault(threading.get_ident(), {})
        if not name.startswith("bilin.") or name in passed or _HIDDEN.search(name):
            return
        self._busy.now = True
        try:
            arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + 2]
            if any(self._carries(frame.f_locals.get(argument)) for argument in arguments):
                passed[name] = None
        finally:
            self._busy.now = False

    def _carries(self, value: object) -> bool:
        try:
            return self._value.search(repr(value)) is not None
        except Exception:  # an object that is not complete yet
            return False


def walk_of_a_grid_key() -> Walk:
    """``m: [9973, 9967]`` in a grid, to the specs of the trials to run."""
    from bilin.orchestrator import plan
    from bilin.orchestrator.grid import read_grid

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "grid.yaml")
        path.write_text(GRID)
        read_grid(path)  # settings and their modules are loaded before
        walk = Walk("9973")
        with walk.active():
            specs = list(plan(path, store=Path(folder, "store")).to_run())
    assert [spec.cell.task.m for spec in specs] == [9973, 9967]  # type: ignore[attr-defined]
    return walk


def walk_of_a_result() -> Walk:
    """The result of a trial, from the worker to the store."""
    from bilin.orchestrator import ClusterSpec, launch, plan
    from bilin.workers import run_trial

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "grid.yaml")
        path.write_text(GRID)
        inline = ClusterSpec(kind="inline", checkpoint_s=0)
        launch(path, store=Path(folder, "before"), cluster=inline, run=run_trial)  # loads torch
        first = next(iter(plan(path, store=Path(folder, "store")).to_run()))
        walk = Walk(f"TrialResult(trial_id='{first.trial_id}'")
        with walk.active():
            launch(path, store=Path(folder, "store"), cluster=inline, run=run_trial)
    return walk


def walk_of_an_option() -> Walk:
    """``--nodes 3-7919`` on the command line, to the batch script."""
    from bilin.cli.app import app

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as script:
        path = Path(folder, "grid.yaml")
        path.write_text(GRID)
        words = ["sweep", "launch", str(path), "--cluster", "slurm", "--dry-run", "--store", str(Path(folder, "store"))]
        with contextlib.suppress(SystemExit):
            app([*words])
        walk = Walk("3-7919")
        with walk.active(), contextlib.suppress(SystemExit):
            app([*words, "--nodes", "3-7919"])
    assert "#SBATCH --nodes=3\n" in script.getvalue()
    return walk


WALKS: dict[str, Callable[[], Walk]] = {
    "`m: [2, 3]` in a grid": walk_of_a_grid_key,
    "The result of a trial": walk_of_a_result,
    "`--nodes 1-8` on the command line": walk_of_an_option,
}


def markdown() -> str:
    """All walks, as a part of a page."""
    parts = []
    for title, make in WALKS.items():
        passed = list(make().passed)
        lines = "\n".join(f"{number}. `{name.removeprefix('bilin.')}`" for number, name in enumerate(passed, 1))
        parts.append(f"### {title}\n\n{len(passed)} functions:\n\n{lines}\n")
    return "\n".join(parts)


def replaced(page: str, walks: str) -> str:
    """The page with these walks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{walks}\n{END}{after}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="replace the walks in docs/architecture.md")
    if parser.parse_args().write:
        PAGE.write_text(replaced(PAGE.read_text(), markdown()))
    else:
        print(markdown())
