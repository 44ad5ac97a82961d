"""Parity against a count of ones."""

from __future__ import annotations

from typing import Any

import torch

from bilin.tasks.modular_addition import ModularAddition
from bilin.tasks.parity import Parity


def labels(task: Any, tokens: Any) -> Any:
    """Whether the number of ones so far is odd."""
    return [tokens[: i + 1].count(1) % 2 for i in range(len(tokens))]


def test_it_is_modular_addition_with_two_residues() -> None:
    ours, same = (
        task.sample(torch.tensor([3, 8]), torch.Generator().manual_seed(0)) for task in (Parity(), ModularAddition(m=2))
    )
    assert torch.equal(ours.tokens, same.tokens)
    assert torch.equal(ours.targets, same.targets)
