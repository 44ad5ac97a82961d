"""Every task at small sizes."""

from __future__ import annotations

import pytest
import torch

from bilin.fields import values_of
from bilin.tasks import TASKS, Task, task_settings

VARIANTS = [
    *(task_settings(name)(m=m) for name in TASKS for m in (2, 5)),
    task_settings("random_state_machine")(m=5, transitions="maps"),
]


@pytest.fixture(params=VARIANTS, ids=lambda task: "-".join([task.name, *map(str, values_of(task).values())]))
def task(request: pytest.FixtureRequest) -> Task:
    """Every task in turn."""
    return request.param


@pytest.fixture
def generator() -> torch.Generator:
    """A generator under a fixed seed."""
    return torch.Generator().manual_seed(0)
