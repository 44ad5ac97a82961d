from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bilin.results import SweepWriter
from tests.results.samples import cell, failed, pair


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """Two sweeps, to read only: three models at two rates and two seeds, and one failure elsewhere."""
    store = tmp_path_factory.mktemp("filled") / "store"
    models = [cell("full"), cell("cp", rank=8), cell("positive_diagonal")]
    accuracy = {"full": 1.0, "cp": 0.9, "positive_diagonal": 0.2}
    with SweepWriter(store, "first") as writer:
        for lr, drop in ((1e-3, 0.0), (1e-4, 0.1)):
            writer.append(
                [
                    pair(of, lr=lr, seed=seed, accuracy=accuracy[of.model.tier] - drop - seed / 100)
                    for of in models
                    for seed in (0, 1)
                ]
            )
    with SweepWriter(store, "second") as writer:
        writer.append([pair(cell("lstm", m=2)), failed(cell("lstm", m=3), error="Boom, | or\nbust")])
    return store


@pytest.fixture
def spare(filled, tmp_path):
    """A copy of the filled store, to write to."""
    return Path(shutil.copytree(filled, tmp_path / "spare"))
