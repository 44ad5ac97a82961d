"""Rows grouped by their token, and matrices multiplied in groups."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bilin.models.bilinear.matrices import Matrices, group
from bilin.models.bilinear.recurrence import Packed

TOKENS = [[0], [2, 0, 2, 1, 2], [39, 7, 7], list(range(40))]


def drawn(*shape: Any, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_by_one(matrices: Any, tokens: Any, vectors: Any) -> Any:
    return (matrices[tokens] @ vectors[..., None]).squeeze(-1)


@pytest.mark.parametrize("tokens", TOKENS)
def test_multiply_takes_each_row_by_the_matrices_of_its_token(tokens: Any) -> None:
    matrices, vectors = drawn(40, 2, 4, 3), drawn(len(tokens), 2, 3)
    (groups,) = group(torch.tensor(tokens), [len(tokens)])
    torch.testing.assert_close(groups.multiply(matrices, vectors), one_by_one(matrices, tokens, vectors))


@pytest.mark.parametrize("tokens", TOKENS)
def test_add_products_adds_each_rows_outer_product_to_its_token(tokens: Any) -> None:
    left, right, sums = drawn(len(tokens), 2, 4), drawn(len(tokens), 2, 3, seed=1), torch.ones(40, 2, 4, 3).double()
    expected = sums.clone()
    for token, column, row in zip(tokens, left, right, strict=True):
        expected[token] += column[:, :, None] * row[:, None, :]
    (groups,) = group(torch.tensor(tokens), [len(tokens)])
    groups.add_products(sums, left, right)
    torch.testing.assert_close(sums, expected)


def test_several_parts_are_grouped_each_for_itself() -> None:
    tokens, sizes = torch.tensor([0, 2, 2, 1, 1, 9]), [3, 2, 1]
    matrices, vectors = drawn(10, 1, 3, 3), drawn(6, 1, 3)
    products = [
        part.multiply(matrices, cut) for part, cut in zip(group(tokens, sizes), vectors.split(sizes), strict=True)
    ]
    torch.testing.assert_close(torch.cat(products), one_by_one(matrices, tokens, vectors))


def test_tokens_that_do_not_occur_are_left_out_where_most_do_not() -> None:
    assert [part.tokens for part in group(torch.tensor([2, 0, 2]), [3])] == [None]
    (groups,) = group(torch.tensor([9, 3, 9]), [3])
    assert groups.tokens is not None
    assert (groups.tokens.tolist(), groups.num_groups, groups.capacity) == ([3, 9], 2, 2)


def test_the_gradient_of_matrices_is_that_of_all_their_uses() -> None:
    weights = drawn(3, 1, 2, 2).requires_grad_()
    packed = Packed(torch.tensor([[1, 2], [1, 0], [0, 0]]), torch.tensor([2, 2, 1]))
    gradients = []
    for grouped in (True, False):
        matrices, states = Matrices(weights * 2), drawn(3, 1, 2)
        for rows in packed.steps:
            states = states[: len(rows.tokens)]
            states = matrices.multiply(rows, states) if grouped else one_by_one(weights * 2, rows.tokens, states)
        gradients.append(torch.autograd.grad(states.square().sum(), weights)[0])
    torch.testing.assert_close(*gradients)
