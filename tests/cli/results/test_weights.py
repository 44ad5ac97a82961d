"""`bilin results weights` hands out weights, and prints lines that load them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bilin import launch
from bilin.errors import StoreError
from bilin.orchestrator import ClusterSpec
from bilin.results import query

GRID: dict[str, Any] = {
    "name": "sweep",
    "tasks": [{"name": "modular_addition", "m": 3}],
    "models": [{"tier": "cp", "rank": 2, "hidden": 4, "embedding": 4}],
    "train": {"steps": 20},
    "validate": {"every": 10, "lengths": [20], "num_sequences": 16},
    "test": {"lengths": [10], "num_sequences": 16},
    "learning_rate": {"choices": [1e-2, 1e-3]},
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BILIN_STORE", str(tmp_path / "weights"))
    launch(GRID, store=tmp_path / "weights", cluster=ClusterSpec(kind="inline"))
    return tmp_path / "weights"


def trial(store: Path, *, selected: bool) -> str:
    (row,) = query(store=store, view="trials", where=f"selected = {selected}").to_pylist()
    return str(row["trial_id"])


def test_the_printed_lines_load_the_weights(bilin: Callable[..., Any], store: Path, tmp_path: Path) -> None:
    file = tmp_path / "it's a file.safetensors"
    printed = bilin("weights", trial(store, selected=True)[:9], "-o", str(file)).stdout
    names: dict[str, Any] = {}
    exec(printed, names)
    assert names["logits"].shape == (1, 3)
    state = names["model"].state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in load_file(file).items())


def test_a_trial_without_kept_weights_is_an_error(bilin: Callable[..., Any], store: Path, tmp_path: Path) -> None:
    error = bilin("weights", trial(store, selected=False), "-o", str(tmp_path / "file")).exception
    assert isinstance(error, StoreError)
    assert "keeps no weights" in str(error)
    assert not (tmp_path / "file").exists()
