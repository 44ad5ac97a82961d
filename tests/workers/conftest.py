"""Small trials that take well under a second."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from jaxtyping import install_import_hook

from bilin.fields import fields_of
from bilin.models import tier_settings
from bilin.spec import Cell, Resources, TestSpec, TrainSpec, TrialSpec, ValidateSpec
from bilin.tasks import task_settings

install_import_hook(
    ["bilin.workers.training.evaluate", "bilin.workers.training.state", "bilin.workers.training.train"],
    "beartype.beartype",
)


@pytest.fixture
def make() -> Callable[..., TrialSpec]:
    """Make a spec: parity, a real diagonal of width 16, which it solves within 200 steps."""

    def make(*, seed: int = 0, lr: float = 0.01, tier: str = "real_diagonal", **blocks: dict[str, Any]) -> TrialSpec:
        settings = tier_settings(tier)
        widths = {name: 16 for name in ("hidden", "embedding") if name in fields_of(settings)}
        cell = Cell(
            task=task_settings("modular_addition")(**{"m": 2, **blocks.get("task", {})}),
            model=settings(**{**widths, **blocks.get("model", {})}),
            train=TrainSpec(**{"steps": 200, "batch_size": 32, **blocks.get("train", {})}),
            validate=ValidateSpec(
                **{"every": 25, "lengths": (40, 20), "num_sequences": 64, **blocks.get("validate", {})}
            ),
        )
        test = TestSpec(**{"lengths": (10, 30), "num_sequences": 128, **blocks.get("test", {})})
        resources = dataclasses.replace(Resources(), **blocks.get("resources", {}))
        return TrialSpec(cell=cell, lr=lr, seed=seed, test=test, resources=resources)

    return make
