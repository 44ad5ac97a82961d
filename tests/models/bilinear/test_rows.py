"""Tokens laid out for the recurrence."""

from __future__ import annotations

import torch

from bilin.models.bilinear.rows import Packed

TOKENS = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 0, 0]])
NUM_TOKENS = torch.tensor([3, 1, 2])


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
