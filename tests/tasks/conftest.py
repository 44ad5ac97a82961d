"""Small settings of every task."""

from __future__ import annotations

import pytest
import torch

from bilin.tasks import Task
from bilin.tasks.copying import Copying
from bilin.tasks.group_word import GroupWord
from bilin.tasks.modular_addition import ModularAddition
from bilin.tasks.modular_arithmetic import ModularArithmetic
from bilin.tasks.modular_arithmetic_brackets import ModularArithmeticBrackets
from bilin.tasks.parity import Parity
from bilin.tasks.random_state_machine import RandomStateMachine

VARIANTS: list[Task] = [
    *(task(m=m) for task in (ModularAddition, ModularArithmetic, RandomStateMachine) for m in (2, 5)),
    Parity(),
    *(ModularArithmetic(m=m, precedence=True) for m in (2, 5)),
    *(ModularArithmeticBrackets(m=m) for m in (2, 5, 12)),
    RandomStateMachine(m=5, transitions="maps"),
    RandomStateMachine(m=5, num_symbols=2),
    RandomStateMachine(m=3, num_symbols=7, transitions="maps"),
    *(GroupWord(group=group) for group in ("Z6", "S3", "A5", "A4xZ5", "Z2xS3xZ2")),
    *(Copying(num_letters=number) for number in (2, 26)),
]


@pytest.fixture
def generator() -> torch.Generator:
    """A generator under a fixed seed."""
    return torch.Generator().manual_seed(0)
