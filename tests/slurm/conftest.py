"""One lab for all tests of this folder; a test that changes its cluster brings up its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bilin.cli.app import app
from bilin.errors import BilinError
from tests.slurm.lab import Lab, missing

EVERYTHING = "BILIN_TEST_EVERYTHING"
"""Set where nothing may be left out, as in CI: what would be skipped fails."""


@pytest.fixture(scope="session", autouse=True)
def slurm() -> None:
    """Leave these tests out, and say why, where there is no Slurm."""
    if reason := missing():
        if os.environ.get(EVERYTHING):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders that all nodes see: the tests' own, and those that Python and bilin are in."""
    root = Path(__file__).parents[2]
    return [tmp_path_factory.getbasetemp(), Path(sys.prefix), Path(sys.base_prefix), root]


@pytest.fixture(scope="session")
def lab(shared: list[Path]) -> Iterator[Lab]:
    """Two nodes with four CPUs and two GPUs each."""
    with Lab(shared=shared) as up:
        yield up


def bilin(lab: Lab, *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of the command line on the login node; in this process, which has loaded it."""
    others = dict.fromkeys(name for name in os.environ if name not in lab.environment)
    ended = CliRunner().invoke(app, [*map(str, arguments)], env={**others, **lab.environment})
    if isinstance(ended.exception, BilinError):
        return ended.exception.exit_code, ended.stdout, f"{ended.stderr}bilin: {ended.exception}"
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
    return ended.exit_code, ended.stdout, ended.stderr
