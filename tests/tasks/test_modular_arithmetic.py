"""Modular arithmetic against an evaluation in plain Python: operator by operator, and by Python itself."""

from __future__ import annotations

import operator
from typing import Any

import pytest
import torch

from bilin.tasks.modular_arithmetic import ModularArithmetic

OPERATORS = (operator.add, operator.sub, operator.mul)


def labels(task: Any, tokens: Any) -> Any:
    """The value after each operand; where * binds closer, what Python makes of the text."""
    value = by_python if task.precedence else from_left
    return [None if i % 2 else value(tokens[: i + 1], task.m) for i in range(len(tokens))]


def from_left(tokens: Any, m: int) -> Any:
    """The value from left to right, without reducing before the end."""
    value = tokens[0]
    for sign, operand in zip(tokens[1::2], tokens[2::2], strict=True):
        value = OPERATORS[sign - m](value, operand)
    return value % m


def by_python(tokens: Any, m: int) -> Any:
    return eval(" ".join(str(token) if token < m else "+-*"[token - m] for token in tokens)) % m


@pytest.mark.parametrize(("precedence", "values"), [(False, [3, 2, 4]), (True, [3, 2, 1])])
def test_the_example_of_the_file(precedence: bool, values: Any) -> None:
    task = ModularArithmetic(m=5, precedence=precedence)
    assert labels(task, [3, 5, 4, 7, 2])[::2] == values


def test_precedence_changes_answers_and_not_expressions() -> None:
    lengths = torch.full((100,), 6)
    first, other = (
        ModularArithmetic(m=5, precedence=precedence).sample(lengths, torch.Generator().manual_seed(3))
        for precedence in (False, True)
    )
    assert torch.equal(first.tokens, other.tokens)
    assert 0.2 < (first.answers != other.answers).float().mean() < 0.8


def test_the_length_counts_operands(generator: torch.Generator) -> None:
    assert ModularArithmetic(m=3).sample(torch.tensor([1, 2, 10]), generator).num_tokens.tolist() == [1, 3, 19]


def test_operands_and_operators_alternate(generator: torch.Generator) -> None:
    tokens = ModularArithmetic(m=3).sample(torch.full((50,), 7), generator).tokens
    assert (tokens[:, 0::2] < 3).all()
    assert (tokens[:, 1::2] >= 3).all()


def test_zero_is_the_most_frequent_answer(generator: torch.Generator) -> None:
    answers = ModularArithmetic(m=5).sample(torch.full((10_000,), 8), generator).answers
    counts = torch.bincount(answers, minlength=5)
    assert counts.argmax() == 0
    assert 0.25 < counts[0] / len(answers) < 0.5
