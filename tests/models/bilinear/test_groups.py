"""Rows grouped by their token."""

from __future__ import annotations

import pytest
import torch

from bilin.models.bilinear.groups import group
from bilin.models.bilinear.rows import Packed


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tokens", [[0], [2, 0, 2, 1, 2], [39, 7, 7], list(range(40))])
def test_multiply_takes_each_row_by_the_matrices_of_its_token(tokens):
    matrices, vectors = drawn(40, 2, 4, 3), drawn(len(tokens), 2, 3)
    expected = torch.stack([matrices[token] @ row[..., None] for token, row in zip(tokens, vectors, strict=True)])
    (groups,) = group(torch.tensor(tokens), [len(tokens)])
    torch.testing.assert_close(groups.multiply(matrices, vectors), expected.squeeze(-1))


def test_several_parts_are_grouped_each_for_itself():
    tokens = torch.tensor([0, 2, 2, 1, 1, 9])
    matrices, vectors = drawn(10, 1, 3, 3), drawn(6, 1, 3)
    parts = group(tokens, [3, 2, 1])
    products = [part.multiply(matrices, cut) for part, cut in zip(parts, vectors.split([3, 2, 1]), strict=True)]
    (whole,) = group(tokens, [6])
    torch.testing.assert_close(torch.cat(products), whole.multiply(matrices, vectors))


def test_tokens_that_do_not_occur_are_left_out_where_most_do_not():
    assert [part.tokens for part in group(torch.tensor([2, 0, 2]), [3])] == [None]
    (groups,) = group(torch.tensor([9, 3, 9]), [3])
    assert (groups.tokens.tolist(), groups.num_groups, groups.capacity) == ([3, 9], 2, 2)


def test_the_steps_of_a_batch_have_the_groups_of_their_rows():
    packed = Packed(torch.tensor([[1, 2], [1, 0], [0, 0]]), torch.tensor([2, 2, 1]))
    matrices, vectors = drawn(3, 1, 2, 2), drawn(5, 1, 2)
    products = [rows.groups.multiply(matrices, vectors[where]) for where, rows in packed.steps]
    torch.testing.assert_close(torch.cat(products), packed.groups.multiply(matrices, vectors))
