"""docs/results.md says what is there: its commands run, and its columns are those of the schema."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bilin.cli.results import app
from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.results import SweepWriter, query
from bilin.results.schema import trials_schema
from bilin.tasks import TASKS, task_settings
from tests.results.samples import cell, pair

DOCS = (Path(__file__).parents[2] / "docs/results.md").read_text()
EXAMPLES = re.findall(r"^\$ bilin results (.+)\n((?:(?!\$ |```).*\n)*)", DOCS, re.MULTILINE)


@pytest.fixture(scope="module")
def parity(tmp_path_factory):
    """A store with the cells of the documented sweep."""
    store = tmp_path_factory.mktemp("documented") / "store"
    sizes: dict[str, Any] = {"hidden": 32, "embedding": 32}
    models: list[tuple[str, dict[str, Any]]] = [
        ("full", {}),
        ("cp", {"rank": 32}),
        ("real_diagonal", {}),
        ("positive_diagonal", {}),
    ]
    with SweepWriter(store, "parity") as writer:
        writer.append(
            [
                pair(
                    cell(tier, m=m, steps=1000, **fields, **sizes),
                    lr=lr,
                    seed=seed,
                    accuracy=1.0 - 0.1 * (tier == "cp"),
                )
                for m in (2, 3)
                for tier, fields in models
                for lr in (3e-3, 1e-3)
                for seed in (0, 1, 2)
            ]
        )
    return store


@pytest.mark.parametrize(("command", "output"), EXAMPLES)
def test_documented_commands_run_and_head_their_columns_so(parity, command, output):
    result = CliRunner().invoke(app, [*shlex.split(command), "--store", str(parity)])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == output.splitlines()[0].split()


@pytest.mark.parametrize("sql", re.findall(r"```sql\n(.+?)```", DOCS, re.DOTALL))
def test_documented_queries_run(parity, sql):
    if "read_" in sql:
        pytest.skip("for DuckDB itself: see test_other_tools.py")
    assert query(sql, store=parity).num_rows > 0


def documented(heading):
    """The columns of the first table after a heading, with the type of each."""
    section = DOCS[DOCS.index(heading) :]
    rows = re.findall(r"^\| (.+?) \| (.*?) \|", section[: section.index("\n\n", section.index("|---"))], re.MULTILINE)[
        1:
    ]
    return {name: type_ for names, type_ in rows for name in names.split(", ")}


def test_documented_columns_of_a_trial_are_those_of_the_schema():
    fields = {name for task in TASKS for name in fields_of(task_settings(task))}
    fields |= {name for tier in MODELS for name in fields_of(tier_settings(tier))}
    types = {field.name: str(field.type) for field in trials_schema() if field.name not in fields}
    names = {"list<item: int64>": "list&lt;int64&gt;"}
    names |= dict.fromkeys((types[name] for name in ("tested", "searched", "rungs")), "list&lt;struct&gt;")
    assert documented("### A stored trial") == {name: names.get(type_, type_) for name, type_ in types.items()}


@pytest.mark.parametrize("view", ["lengths", "curves", "cells", "published"])
def test_documented_columns_of_a_view_are_its_columns(parity, view):
    columns = set(query(store=parity, view=view).column_names)
    listed = set(documented(f"**`{view}`**"))
    if view == "cells":
        first, last = "task", "searched"
        names = query(store=parity, view=view).column_names
        listed = listed - {f"{first} … {last}"} | set(names[names.index(first) : names.index(last) + 1])
    assert listed == columns
