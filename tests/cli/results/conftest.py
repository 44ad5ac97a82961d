from __future__ import annotations

import pytest
from typer.testing import CliRunner

from bilin.cli.results import app
from bilin.results import SweepWriter
from tests.results.samples import cell, failed, pair


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store with a few trials, named by the environment."""
    store = tmp_path / "store"
    with SweepWriter(store, "sweep") as writer:
        writer.append([pair(cell("full")), pair(cell("cp", rank=8), accuracy=0.6)])
        writer.append([failed(cell("lstm"), error="a, b | c\nd")])
    monkeypatch.setenv("BILIN_STORE", str(store))
    return store


@pytest.fixture
def bilin(store):
    def run(*arguments: str):
        return CliRunner().invoke(app, list(arguments))

    return run
