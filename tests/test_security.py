"""What docs/security.md promises of files and rows; queries, names, Ray and checkpoints are tested in their rooms."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GRID = """
name: modest
tasks: [{name: parity}]
models: [{tier: positive_diagonal, hidden: 4, embedding: 4}]
train: {steps: 20}
validate: {every: 10, lengths: [20], num_sequences: 16}
test: {lengths: [10], num_sequences: 16}
"""
SECRET = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was written under a strict umask, with a secret in the environment."""
    folder = tmp_path_factory.mktemp("modest")
    (folder / "grid.yaml").write_text(GRID)
    command = [sys.executable, "-m", "bilin", "sweep", "launch", "grid.yaml", "--cluster", "inline"]
    environment = {**os.environ, "API_TOKEN": SECRET, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, cwd=folder, env=environment, check=True, umask=0o077, capture_output=True)
    return folder / "bilin-store"


def test_files_have_the_rights_that_the_umask_leaves(store: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in [store, *store.rglob("*")]}
    assert "manifest.json" in modes
    assert not any(mode & 0o077 for mode in modes.values()), modes


def test_a_secret_of_the_environment_is_in_no_file(store: Path) -> None:
    files = [path for path in store.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not any(SECRET.encode() in path.read_bytes() for path in files)
