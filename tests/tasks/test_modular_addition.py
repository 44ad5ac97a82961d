"""Modular addition against sums in plain Python."""

from __future__ import annotations

import itertools
from typing import Any

import torch

from bilin.tasks.modular_addition import ModularAddition


def labels(task: Any, tokens: Any) -> Any:
    """The sums so far."""
    return [total % task.m for total in itertools.accumulate(tokens)]


def test_an_example() -> None:
    assert labels(ModularAddition(m=5), [3, 4, 1]) == [3, 2, 3]


def test_the_length_is_the_number_of_tokens(generator: torch.Generator) -> None:
    assert ModularAddition(m=3).sample(torch.tensor([4, 2]), generator).num_tokens.tolist() == [4, 2]
