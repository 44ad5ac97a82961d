"""What a launch from Python shows, on a terminal, in a notebook and in neither."""

from __future__ import annotations

import io
import re
import shlex
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bilin.cli.app import app
from bilin.orchestrator.clusters import ClusterSpec
from bilin.orchestrator.grid import Grid
from bilin.orchestrator.sweep.launch import launch, plan
from bilin.record import TrialResult
from bilin.spec import TrialSpec
from tests.orchestrator.runs import no_op

Tiny = Callable[..., Grid]
INLINE = ClusterSpec(kind="inline")


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


class Unwritable(Terminal):
    """A terminal that is gone."""

    def write(self, text: str) -> int:
        raise OSError("no such device")


class Notebook:
    """IPython as it is in a kernel: keeps what is displayed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[dict[str, str]] = []
        shell = types.SimpleNamespace(kernel=object())
        monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
        monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=self.display))

    def display(self, content: dict[str, str], **_: object) -> Notebook:
        self.shown.append(content)
        return self

    def update(self, content: dict[str, str], **_: object) -> None:
        self.shown.append(content)


def failing(spec: TrialSpec, **_: object) -> TrialResult:
    return TrialResult(
        trial_id=spec.trial_id, status="failed", error="ValueError: <no>", started_at=1.0, finished_at=2.0
    )


def shown(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, grid: Grid, store: Path, **options: Any) -> str:
    """What a launch writes to a standard error."""
    monkeypatch.setattr(sys, "stderr", stream)
    launch(grid, store=store, cluster=INLINE, **{"run": no_op, **options})
    return stream.getvalue()


def test_a_terminal_shows_one_line_that_ends_with_the_counts(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(monkeypatch, Terminal(), tiny(), tmp_path)
    assert text.count("\n") == 1
    assert text.endswith("tiny: 4 done · 0 running · 0 to go\n")
    assert "4 to go, starting" in text


def test_the_same_error_is_shown_once_with_the_command_for_the_rest(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown(monkeypatch, Terminal(), tiny(), tmp_path, run=failing)
    shows = re.findall(r"([0-9a-f]+): failed: ValueError: <no>\n  more: bilin sweep show (\w+) (.+)\n", text)
    assert [(shown_id == trial_id, place) for trial_id, shown_id, place in shows] == [
        (True, f"--sweep tiny --store {tmp_path}")
    ]
    assert text.endswith("tiny: 0 done · 0 running · 4 failed · 0 to go\n")


def test_the_command_for_the_rest_of_an_error_can_be_run(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch(tiny(m=3), store=tmp_path, cluster=INLINE, run=no_op)
    stored = shown(monkeypatch, Terminal(), tiny(m=2), tmp_path, run=failing)
    kept = shown(monkeypatch, Terminal(), tiny(m=3, lengths="[10, 90]"), tmp_path, run=failing)
    for text, command in ((stored, "show"), (kept, "logs")):
        (arguments,) = re.findall("more: bilin (.+)\n", text)
        assert arguments.startswith(f"sweep {command} ")
        assert CliRunner().invoke(app, shlex.split(arguments), catch_exceptions=False).exit_code == 0


@pytest.mark.parametrize(("stream", "progress"), [(io.StringIO, None), (Terminal, False)])
def test_nothing_is_shown_to_a_file_or_if_it_is_switched_off(
    stream: type[io.StringIO],
    progress: bool | None,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert shown(monkeypatch, stream(), tiny(), tmp_path, progress=progress) == ""


def test_a_file_gets_plain_lines_if_it_is_switched_on(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(monkeypatch, io.StringIO(), tiny(), tmp_path, progress=True).splitlines()
    assert lines[0] == "tiny: 4 to go, starting"
    assert lines[-1] == "tiny: 4 done · 0 running · 0 to go"
    assert lines.count(lines[-1]) == 1


def test_a_launch_without_trials_shows_nothing(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch(tiny(), store=tmp_path, cluster=INLINE, run=no_op)
    assert shown(monkeypatch, Terminal(), tiny(), tmp_path) == ""


@pytest.mark.parametrize("make", [Unwritable, lambda: None])
def test_a_display_that_cannot_be_written_never_ends_the_launch(
    make: Callable[[], Any], tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", make())
    assert launch(tiny(), store=tmp_path, cluster=INLINE, run=no_op, progress=True).ran == {"done": 4}


def test_a_closed_standard_error_never_ends_the_launch(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = Terminal()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    assert launch(tiny(), store=tmp_path, cluster=INLINE, run=no_op).exit_code == 0


def test_a_notebook_shows_a_bar_that_is_replaced(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(monkeypatch)
    assert shown(monkeypatch, io.StringIO(), tiny(), tmp_path) == ""
    assert notebook.shown[-1]["text/plain"] == "tiny: 4 done · 0 running · 0 to go"
    assert '<progress value="1.0000" max="1"' in notebook.shown[-1]["text/html"]


def test_a_notebook_shows_failures_below_the_bar(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = Notebook(monkeypatch)
    shown(monkeypatch, io.StringIO(), tiny(), tmp_path, run=failing)
    assert notebook.shown[-1]["text/html"].count("ValueError: &lt;no&gt;") == 1


def test_plans_and_summaries_are_short_in_text_and_tables_in_html(tiny: Tiny, tmp_path: Path) -> None:
    before = plan(tiny(), store=tmp_path)
    assert repr(before) == "<Plan tiny: 2 cells, 4 trials wanted, 0 done, 0 failed, 4 to run now>"
    assert repr(before.grid) == "<Grid tiny: 2 cells, at most 4 trials>"
    assert '<td style="text-align: left">to run now</td>' in before._repr_html_()
    summary = launch(tiny(), store=tmp_path, cluster=INLINE, run=no_op)
    assert repr(summary) == "<Summary tiny: 0 found in the store, 4 ended as done, 0 without a result>"
    assert "ended as done" in summary._repr_html_()
    after = plan(tiny(), store=tmp_path)
    assert repr(after).endswith("4 done, 0 failed, 0 to run now>")
