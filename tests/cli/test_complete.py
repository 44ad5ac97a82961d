"""What a shell completes, asked as bash asks it."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from bilin.cli.app import app
from bilin.models import MODELS
from bilin.results import SweepWriter, query
from bilin.results.figures.plot import KINDS
from bilin.results.sql.views import VIEWS
from bilin.tasks import TASKS
from tests.results.samples import cell, pair


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = tmp_path_factory.mktemp("completed") / "store"
    for sweep in ("ranks", "rates"):
        with SweepWriter(store, sweep) as writer:
            writer.append([pair(cell("cp", rank=len(sweep)), seed=seed) for seed in range(3)])
    return store


def completed(words: str, store=None) -> list[str]:
    """What bash offers for the last of some words, which may be empty."""
    before = words.split(" ")
    environment = {"_BILIN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(before) - 1)}
    environment |= {"BILIN_STORE": str(store)} if store else {}
    result = CliRunner().invoke(app, [], prog_name="bilin", env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stderr == ""
    return result.stdout.split()


@pytest.mark.parametrize(
    "command",
    ["sweep status", "sweep watch", "sweep cancel", "sweep rename", "results compare", "results table --sweep"],
)
def test_sweeps_of_the_store(store, command):
    assert completed(f"bilin {command} ra", store) == ["ranks", "rates"]
    assert completed(f"bilin {command} ran", store) == ["ranks"]


def test_sweeps_of_a_store_that_the_command_names(store, tmp_path):
    assert completed(f"bilin sweep status --store {store} ran") == ["ranks"]
    assert completed("bilin sweep status ", tmp_path / "nowhere") == []


@pytest.mark.parametrize("command", ["sweep show", "results weights", "sweep logs ranks"])
def test_ids_of_trials(store, command):
    sweep = "ranks" if command.endswith("ranks") else None
    ids = sorted({*query(store=store, view="trials", sweep=sweep)["trial_id"].to_pylist()})
    assert completed(f"bilin {command} ", store) == ids
    assert completed(f"bilin {command} {ids[0][:6]}", store) == ids[:1]
    assert completed(f"bilin {command} it's", store) == []


def test_columns_of_a_view(store):
    assert completed("bilin results query --select ti", store) == ["tier"]
    assert completed("bilin results query --view trials --sort stat", store) == ["state_size", "status"]
    assert completed("bilin results table --rows tier,ra", store) == ["tier,rank"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("results plot ", [*KINDS, "spectrum"]),
        ("results query --view ", [*VIEWS]),
        ("sweep init --tier ", [*MODELS]),
        ("sweep init --task ", [*TASKS]),
        ("models show ", [*MODELS]),
        ("models check ", [*MODELS]),
        ("tasks show ", [*TASKS]),
    ],
)
def test_names_that_bilin_knows(words, expected):
    assert completed(f"bilin {words}") == expected
    assert completed(f"bilin {words}{expected[-1][:4]}") == [
        name for name in expected if name.startswith(expected[-1][:4])
    ]


def test_sizes_of_packs():
    assert completed("bilin sweep launch grid.yaml --pack ") == ["auto", "off"]
