"""Tokens laid out for the recurrence."""

from __future__ import annotations

import pytest
import torch

from bilin.models.bilinear.rows import Packed, Rows

TOKENS = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 0, 0]])
NUM_TOKENS = torch.tensor([3, 1, 2])


@pytest.mark.parametrize("tokens", [[0], [2, 0, 2, 1, 2], [39, 7, 7], list(range(40))])
def test_multiply_takes_each_row_by_the_matrices_of_its_token(tokens):
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(40, 2, 4, 3, generator=generator)
    vectors = torch.randn(len(tokens), 2, 3, generator=generator)
    expected = torch.stack([matrices[token] @ row[..., None] for token, row in zip(tokens, vectors, strict=True)])
    product = Rows(torch.tensor(tokens)).multiply(matrices, vectors)
    torch.testing.assert_close(product, expected.squeeze(-1))


def test_groups_leave_out_tokens_that_do_not_occur_where_most_do_not():
    assert Rows(torch.tensor([9, 3, 9])).groups.tokens.tolist() == [3, 9]
    assert Rows(torch.tensor([2, 0, 2])).groups.tokens is None


def test_packed_lays_out_time_by_time_the_longest_first_without_padding():
    packed = Packed(TOKENS, NUM_TOKENS)
    assert packed.tokens.tolist() == [1, 5, 4, 2, 6, 3]
    assert packed.sizes == [3, 2, 1]
    assert packed.tokens[packed.last].tolist() == [3, 4, 6]
    assert [rows.tokens.tolist() for _, rows in packed.steps] == [[1, 5, 4], [2, 6], [3]]


def test_pad_brings_sequences_back_in_their_order():
    packed = Packed(TOKENS, NUM_TOKENS)
    padded = packed.pad(packed.tokens[:, None].float()).squeeze(2)
    there = torch.arange(4) < NUM_TOKENS[:, None]
    assert torch.equal(padded[there], TOKENS[there].float())


def test_before_is_the_initial_state_and_then_the_state_after_the_token_before():
    packed = Packed(TOKENS, NUM_TOKENS)
    before = packed.before(packed.tokens[:, None].float(), torch.tensor([-1.0]))
    assert before.squeeze(1).tolist() == [-1, -1, -1, 1, 5, 2]
