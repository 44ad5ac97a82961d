"""Rows grouped by their token, and matrices multiplied in groups."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bilin.models.bilinear.layout import Packed, Padded
from bilin.models.bilinear.matrices import MULTIPLE, Matrices, group

TOKENS = [[0], [2, 0, 2, 1, 2], [39, 7, 7], list(range(40))]


def drawn(*shape: Any, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def one_by_one(matrices: Any, tokens: Any, vectors: Any) -> Any:
    return (matrices[tokens] @ vectors[..., None]).squeeze(-1)


@pytest.mark.parametrize("tokens", TOKENS)
def test_multiply_takes_each_row_by_the_matrices_of_its_token(tokens: Any) -> None:
    matrices, vectors = drawn(40, 2, 4, 3), drawn(len(tokens), 2, 3)
    (groups,) = group([torch.tensor(tokens)], [None], 40)
    torch.testing.assert_close(
        groups.multiply(matrices, vectors, transpose=False), one_by_one(matrices, tokens, vectors)
    )


@pytest.mark.parametrize("tokens", TOKENS)
def test_add_products_adds_each_rows_outer_product_to_its_token(tokens: Any) -> None:
    left, right, sums = drawn(len(tokens), 2, 4), drawn(len(tokens), 2, 3, seed=1), torch.ones(40, 2, 4, 3).double()
    expected = sums.clone()
    for token, column, row in zip(tokens, left, right, strict=True):
        expected[token] += column[:, :, None] * row[:, None, :]
    (groups,) = group([torch.tensor(tokens)], [None], 40)
    groups.add_products(sums, left, right)
    torch.testing.assert_close(sums, expected)


def test_several_parts_are_grouped_each_for_itself() -> None:
    tokens, sizes = torch.tensor([0, 2, 2, 1, 1, 9]), [3, 2, 1]
    matrices, vectors = drawn(10, 1, 3, 3), drawn(6, 1, 3)
    parts = group(tokens.split(sizes), [None] * 3, 10)
    products = [
        part.multiply(matrices, cut, transpose=False) for part, cut in zip(parts, vectors.split(sizes), strict=True)
    ]
    torch.testing.assert_close(torch.cat(products), one_by_one(matrices, tokens, vectors))


def test_dead_rows_become_0_and_add_nothing() -> None:
    tokens, live = torch.tensor([1, 2, 1, 0]), torch.tensor([True, False, True, False])
    matrices, vectors, sums = drawn(3, 1, 2, 2), drawn(4, 1, 2), torch.zeros(3, 1, 2, 2).double()
    vectors[1] = torch.inf
    (groups,) = group([tokens], [live], 3)
    product = groups.multiply(matrices, vectors, transpose=True)
    torch.testing.assert_close(product[live], one_by_one(matrices.mT, tokens[live], vectors[live]))
    assert not product[~live].any()
    groups.add_products(sums, vectors, vectors)
    torch.testing.assert_close(sums[1, 0], sum(vector.T @ vector for vector in vectors[live]))
    assert not sums[[0, 2]].any()


def test_more_rows_of_a_token_than_are_summed_at_once() -> None:
    left, right, sums = drawn(300, 1, 2), drawn(300, 1, 2, seed=1), torch.zeros(1, 1, 2, 2).double()
    (groups,) = group([torch.zeros(300, dtype=torch.int64)], [None], 1)
    groups.add_products(sums, left, right)
    torch.testing.assert_close(sums[0, 0], left[:, 0].T @ right[:, 0])


def test_tokens_that_do_not_occur_are_left_out_where_most_do_not() -> None:
    assert [part.tokens for part in group([torch.tensor([2, 0, 2])], [None], 3)] == [None]
    (groups,) = group([torch.tensor([9, 3, 9])], [None], 10)
    assert groups.tokens is not None
    assert (groups.tokens.tolist(), groups.num_groups, groups.capacity) == ([3, 9], 2, MULTIPLE)


@pytest.mark.parametrize("kind", [Packed, Padded])
def test_the_gradient_of_matrices_is_that_of_all_their_uses(kind: Any) -> None:
    weights = drawn(2, 3, 1, 2, 2).requires_grad_()
    tokens, num_tokens = (
        torch.tensor([[[1, 2], [1, 0], [0, 0]], [[2, 0], [1, 0], [1, 2]]]),
        torch.tensor([[2, 2, 1], [1, 1, 2]]),
    )
    layout, gradients = kind(tokens, num_tokens, vocab=3), []
    for grouped in (True, False):
        matrices, states = Matrices(weights * 2), drawn(2, 3, 1, 2)
        for rows in layout.steps:
            before = states[:, : rows.size].flatten(0, 1)
            after = (
                matrices.multiply(rows, before)
                if grouped
                else one_by_one((weights * 2).flatten(0, 1), rows.tokens.clamp(max=5), before)
            )
            live = torch.ones(2, rows.size, dtype=torch.bool) if rows.live is None else rows.live
            states = torch.where(live.flatten()[:, None, None], after, before).unflatten(0, (2, -1))
        gradients.append(torch.autograd.grad(states.square().sum(), weights)[0])
    torch.testing.assert_close(*gradients)
