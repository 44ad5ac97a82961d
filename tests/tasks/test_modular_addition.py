"""Modular addition against sums in plain Python."""

from __future__ import annotations

import pytest
import torch

from bilin.tasks.modular_addition import ModularAddition


@pytest.mark.parametrize("m", [2, 3, 50])
def test_targets_are_the_sums_so_far(m, generator):
    batch = ModularAddition(m=m).sample(torch.tensor([1, 2, 63]), generator)
    for tokens, targets, num in zip(batch.tokens.tolist(), batch.targets.tolist(), batch.num_tokens, strict=True):
        assert targets[:num] == [sum(tokens[: i + 1]) % m for i in range(num)]


def test_the_length_is_the_number_of_tokens(generator):
    assert ModularAddition(m=3).sample(torch.tensor([4, 2]), generator).num_tokens.tolist() == [4, 2]


def test_all_answers_are_equally_frequent(generator):
    answers = ModularAddition(m=5).sample(torch.full((20_000,), 4), generator).answers
    shares = torch.bincount(answers, minlength=5) / len(answers)
    assert (shares - 0.2).abs().max() < 0.015
