"""Bracketed expressions against Python's own evaluation and a grammar with its probabilities written out."""

from __future__ import annotations

import functools
import re
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
import torch

from bilin.tasks.modular_arithmetic_brackets import ModularArithmeticBrackets


def text(task: Any, tokens: Any) -> Any:
    return "".join(str(token) if token < task.m else "+-*()="[token - task.m] for token in tokens)


def labels(task: Any, tokens: Any) -> Any:
    """What Python makes of the expression, after the equals sign alone."""
    expression = text(task, tokens)
    assert expression.endswith("=")
    return [None] * (len(tokens) - 1) + [eval(expression[:-1]) % task.m]


@functools.cache
def shapes(length: int) -> Any:
    """The probability of each expression of a length, with n for every operand and o for every operator."""
    leaves = {1: "n", 2: "-n", 3: "(n)", 4: "(-n)"}
    if length in leaves:
        return {leaves[length]: Fraction(1)}
    found: Counter[Any] = Counter()
    splits = [(left, length - 3 - left) for left in range(1, length - 3)]
    for left, right in splits:
        for first, p in shapes(left).items():
            for second, q in shapes(right).items():
                found[f"({first}o{second})"] += p * q / len(splits)
    return dict(found)


def shape(expression: Any) -> Any:
    return re.sub(r"(?<=[n)])[-+*]", "o", re.sub(r"\d+", "n", expression))


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 9, 14])
def test_trees_are_drawn_with_the_probabilities_of_the_grammar(length: int, generator: torch.Generator) -> None:
    task, count = ModularArithmeticBrackets(), 20_000
    drawn = task.sample(torch.full((count,), length), generator)
    found = Counter(shape(text(task, tokens)[:-1]) for tokens in drawn.tokens.tolist())
    expected = shapes(length)
    assert sum(expected.values()) == 1
    assert set(found) <= set(expected)
    for form, p in expected.items():
        assert abs(found[form] - count * p) < 5 * float(count * p) ** 0.5 + 1


def test_operands_and_operators_are_uniform(generator: torch.Generator) -> None:
    task = ModularArithmeticBrackets()
    drawn = task.sample(torch.full((10_000,), 5), generator).tokens
    operands = torch.bincount(drawn[:, (1, 3)].flatten(), minlength=5)
    operators = torch.bincount(drawn[:, 2] - 5, minlength=3)
    assert (operands - 4000).abs().max() < 300
    assert (operators - 10_000 / 3).abs().max() < 250


def test_the_length_leaves_the_equals_sign_out(generator: torch.Generator) -> None:
    assert ModularArithmeticBrackets().sample(torch.tensor([1, 4, 40]), generator).num_tokens.tolist() == [2, 5, 41]


def test_the_examples_of_the_file() -> None:
    task = ModularArithmeticBrackets()
    assert labels(task, [8, 8, 2, 7, 3, 9, 6, 8, 6, 4, 9, 9, 10])[-1] == 0
    assert labels(task, [6, 3, 10])[-1] == 2


def test_zero_is_the_most_frequent_answer(generator: torch.Generator) -> None:
    answers = ModularArithmeticBrackets().sample(torch.full((10_000,), 20), generator).answers
    counts = torch.bincount(answers, minlength=5)
    assert counts.argmax() == 0
    assert 0.22 < counts[0] / len(answers) < 0.5
