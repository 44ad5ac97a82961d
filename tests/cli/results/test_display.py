"""What a terminal shows, at any width."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest

from bilin.cli.text import wrap
from bilin.results import SweepWriter
from tests.results.samples import ENVIRONMENT, cell, pair


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A store whose tables are wider than a terminal of 80 columns."""
    store = tmp_path_factory.mktemp("wide") / "store"
    with SweepWriter(store, "sweep") as writer:
        writer.append(
            [
                pair(cell(tier, m=m), seed=seed, accuracy=0.9 - seed / 8)
                for tier in ("full", "lstm")
                for m in range(2, 10)
                for seed in (0, 1)
            ]
        )
    return store


def on_terminal(store, *arguments: str, columns: int = 80) -> list[str]:
    """The lines that a terminal of some width gets."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    command = [sys.executable, "-m", "bilin", "results", *arguments, "--store", str(store)]
    with subprocess.Popen(command, stdout=theirs, env=environment):
        os.close(theirs)
        output = b""
        try:
            while piece := os.read(ours, 1 << 16):
                output += piece
        except OSError:
            pass  # Linux says that the terminal is gone
    os.close(ours)
    return re.sub(r"\x1b\[[\d;]*m", "", output.decode()).splitlines()


def note(lines):
    """Where the note below the tables begins."""
    return next(index for index, line in enumerate(lines) if line.startswith("mean accuracy"))


def numbers(lines):
    return [word for line in lines for word in line.split() if word[-1].isdigit()]


def test_a_row_that_is_too_long_breaks_between_its_columns(wide):
    select = "task, m, tier, length, lr, num_seeds, num_solved, mean, min, max, best"
    narrow = on_terminal(wide, "query", "--select", select, "--sort", "m, tier, length", columns=80)
    broad = on_terminal(wide, "query", "--select", select, "--sort", "m, tier, length", columns=200)
    assert max(map(len, narrow)) <= 80 < max(map(len, broad))
    assert len(narrow) == 2 * len(broad)
    assert numbers(narrow) == numbers(broad)


def test_a_view_leaves_out_columns_that_have_no_room_and_says_which(wide):
    narrow, broad = (on_terminal(wide, "query", "--sort", "m, tier, length", columns=width) for width in (60, 200))
    assert max(map(len, narrow)) <= 60
    assert narrow[0].split() == ["m", "tier", "length", "lr", "num_seeds", "mean", "min", "max"]
    note = next(index for index, line in enumerate(narrow) if line.startswith("in every row"))
    assert note == len(broad)
    assert " ".join(narrow[note:]) == (
        "in every row: task modular_addition 2 columns hidden (best, num_solved): a wider terminal, --select or "
        "--format csv shows them"
    )


def test_a_table_that_is_too_wide_becomes_several_with_the_models(wide):
    narrow = on_terminal(wide, "table", columns=80)
    assert max(map(len, narrow[:-1])) <= 80
    assert [line.split()[0] for line in narrow[: note(narrow)] if line][1:] == [
        "model",
        "full",
        "lstm",
    ] * 3
    broad = on_terminal(wide, "table", columns=400)
    assert sorted(numbers(narrow)) == sorted(numbers(broad))


def test_a_note_is_broken_between_words_and_its_commands_are_not(tmp_path):
    store = tmp_path / ("a store with a long name" * 3)
    with SweepWriter(store, "sweep") as writer:
        for seed, torch in enumerate(("2.9.0", "2.10.0", "2.11.0")):
            writer.append([pair(seed=seed, environment=replace(ENVIRONMENT, torch=torch))])
    lines = on_terminal(store, "table")
    commands = [line for line in lines if line.startswith("  ")]
    assert max(len(line) for line in lines if line not in commands) <= 80
    (command,) = commands
    assert shlex.split(command)[:3] == ["bilin", "sweep", "launch"]
    note = " ".join(lines[lines.index("") + 1 :])
    assert "* trials of several versions in 1 cell: torch: 2.10.0 (1 trial), 2.11.0 (1 trial), 2.9.0 (1 trial)" in note


def test_messages_are_broken_between_words_and_not_within_commands():
    text = (
        "no trial begins with 0000: `bilin results query --view trials` lists the ids\n"
        "  line 2: m: found 0; accepted: a whole number of at least 2\n"
        "  more: bilin sweep show 0000 --sweep ranks --store store"
    )
    assert wrap(text, 40) == [
        "no trial begins with 0000:",
        "`bilin results query --view trials`",
        "lists the ids",
        "  line 2: m: found 0; accepted: a whole",
        "    number of at least 2",
        "  more: bilin sweep show 0000 --sweep ranks --store store",
    ]


def test_what_is_shown_beside_a_number_stays_beside_it(wide):
    for columns in (40, 61, 75):
        lines = on_terminal(wide, "table", "--rows", "tier", "--cols", "m", "--show", "lr", columns=columns)
        heads = [line.split()[1:] for line in lines[: note(lines)] if line.startswith("tier")]
        assert all(head == [name for m in head[::2] for name in (m, "lr")] for head in heads)
        assert sum(map(len, heads)) == 16


def test_a_table_of_fields_that_is_too_wide_becomes_several_with_the_rows(wide):
    lines = on_terminal(wide, "table", "--rows", "tier", "--cols", "m", "--stat", "mean-ci", "--show", "lr")
    assert max(map(len, lines[: note(lines)])) <= 80
    assert [line.split()[0] for line in lines[: note(lines)] if line].count("full") == 3
    assert sum(line.count("m=") for line in lines) == 8
