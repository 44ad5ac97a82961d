"""Modular arithmetic against an evaluation in plain Python, operator by operator."""

from __future__ import annotations

import operator

import pytest
import torch

from bilin.tasks import IGNORED
from bilin.tasks.modular_arithmetic import ModularArithmetic

OPERATORS = (operator.add, operator.sub, operator.mul)


def evaluate(tokens, m):
    """The value from left to right, without reducing before the end."""
    value = tokens[0]
    for sign, operand in zip(tokens[1::2], tokens[2::2], strict=True):
        value = OPERATORS[sign - m](value, operand)
    return value % m


@pytest.mark.parametrize("m", [2, 5, 50])
def test_targets_are_the_values_after_each_operand(m, generator):
    batch = ModularArithmetic(m=m).sample(torch.tensor([1, 2, 3, 32]), generator)
    for tokens, targets, num in zip(batch.tokens.tolist(), batch.targets.tolist(), batch.num_tokens, strict=True):
        assert targets[:num:2] == [evaluate(tokens[: i + 1], m) for i in range(0, num, 2)]
        assert set(targets[1:num:2]) <= {IGNORED}


def test_the_length_counts_operands(generator):
    assert ModularArithmetic(m=3).sample(torch.tensor([1, 2, 10]), generator).num_tokens.tolist() == [1, 3, 19]


def test_operands_and_operators_alternate(generator):
    tokens = ModularArithmetic(m=3).sample(torch.full((50,), 7), generator).tokens
    assert (tokens[:, 0::2] < 3).all()
    assert (tokens[:, 1::2] >= 3).all()


def test_multiplication_binds_no_closer_than_addition():
    assert evaluate([3, 5, 4, 7, 2], 5) == (3 + 4) * 2 % 5


def test_zero_is_the_most_frequent_answer(generator):
    answers = ModularArithmetic(m=5).sample(torch.full((10_000,), 8), generator).answers
    counts = torch.bincount(answers, minlength=5)
    assert counts.argmax() == 0
    assert 0.25 < counts[0] / len(answers) < 0.5
