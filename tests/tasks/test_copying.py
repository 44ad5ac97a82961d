"""Copying against the letters before the separator."""

from __future__ import annotations

from typing import Any

import torch

from bilin.tasks import IGNORED
from bilin.tasks.copying import Copying


def labels(task: Any, tokens: Any) -> Any:
    """From the separator on the letters before it, one after the other."""
    letters = tokens[: tokens.index(task.num_letters)]
    assert tokens[len(letters) + 1 :] == letters[:-1]
    return [None] * len(letters) + letters


def test_the_example_of_the_file() -> None:
    assert labels(Copying(), [0, 2, 1, 26, 0, 2]) == [None, None, None, 0, 2, 1]


def test_the_length_counts_the_letters_to_copy(generator: torch.Generator) -> None:
    batch = Copying(num_letters=3).sample(torch.tensor([1, 4]), generator)
    assert batch.num_tokens.tolist() == [2, 8]
    assert (batch.targets != IGNORED).sum(1).tolist() == [1, 4]


def test_letters_are_independent_and_uniform(generator: torch.Generator) -> None:
    letters = Copying(num_letters=3).sample(torch.full((9000,), 2), generator).tokens[:, :2]
    counts = torch.bincount(letters[:, 0] * 3 + letters[:, 1], minlength=9)
    assert (counts - 1000).abs().max() < 150
