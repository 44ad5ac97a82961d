"""`bilin models` and `bilin tasks`: what is printed, where, and what it loads."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from bilin.catalog import listed as catalog_of
from bilin.models import MODELS
from bilin.tasks import TASKS
from tests.sweeps import bilin, finish

HEAVY = {"torch", "ray", "optuna", "duckdb", "pyarrow", "numpy", "ruamel"}


@pytest.mark.parametrize(("room", "names"), [("models", MODELS), ("tasks", TASKS)])
def test_a_listing_has_every_name_at_the_beginning_of_a_line(room: str, names: dict[str, str]) -> None:
    code, out, err = finish(bilin(room))
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if line and not line.startswith(" ")] == list(names)


def test_an_entry_says_what_it_is_its_fields_and_its_source() -> None:
    out = finish(bilin("models"))[1]
    (cp,) = (part for part in out.split("\n\n") if part.startswith("cp\n"))
    lines = cp.splitlines()
    assert lines[1].startswith("  CP bilinear: ")
    assert lines[2].startswith("  hidden 256, ")
    assert "rank required" in lines[2]
    assert lines[3].startswith("  source: Ebrahimi")


def test_one_is_shown_with_its_formula_and_a_table_of_its_fields() -> None:
    code, out, _ = finish(bilin("models", "show", "cp"))
    assert code == 0
    assert "A_x = P diag" in out
    assert "Sources:" in out
    assert out.count("a whole number of at least 1") == 3


def test_an_unknown_name_ends_with_2() -> None:
    code, out, err = finish(bilin("tasks", "show", "modular"))
    assert (code, out) == (2, "")
    assert err.startswith("bilin: no task 'modular'")


def test_json_has_the_same() -> None:
    listed = json.loads(finish(bilin("models", "--format", "json"))[1])
    assert [(each["name"], each["summary"]) for each in listed] == [
        (each.name, each.summary) for each in catalog_of("models")
    ]
    shown = json.loads(finish(bilin("models", "show", "cp", "--format", "json"))[1])
    assert {"name": "rank", "required": True, "default": None}.items() <= shown["fields"][-1].items()


@pytest.mark.parametrize("words", [["models"], ["tasks"], ["models", "show", "full"]])
def test_a_listing_loads_nothing_heavy(words: list[str]) -> None:
    code = f"""
import atexit, sys
from bilin.cli.app import main
sys.argv = ["bilin", *{words!r}]
atexit.register(lambda: print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr))
main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (0, "[]")


@pytest.mark.parametrize("words", [["models"], ["models", "show", "cp"]])
def test_a_narrow_terminal_gets_what_fits(words: list[str]) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "50"}
    ended = subprocess.run([sys.executable, "-m", "bilin", *words], stdout=theirs, env=environment, check=False)
    os.close(theirs)
    parts = []
    while True:
        try:
            parts.append(os.read(ours, 65536))
        except OSError:  # its end, once nobody writes to it
            break
        if not parts[-1]:
            break
    os.close(ours)
    lines = b"".join(parts).decode().replace("\r", "").splitlines()
    assert ended.returncode == 0
    fields = lines[lines.index("hidden 256") :] if words[-1] == "cp" else lines
    assert max(map(len, fields)) <= 50
