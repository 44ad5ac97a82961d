"""Tokens laid out for the recurrence."""

from __future__ import annotations

import torch

from bilin.models.bilinear.recurrence.rows import Packed

TOKENS = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 0, 0]])
NUM_TOKENS = torch.tensor([3, 1, 2])


def states(packed):
    """A state of width 1 a token, the token itself."""
    return [rows.tokens[:, None].float() for rows in packed.steps]


def test_the_longest_come_first_and_those_that_ended_are_not_there():
    packed = Packed(TOKENS, NUM_TOKENS)
    assert packed.sizes == [3, 2, 1]
    assert [rows.tokens.tolist() for rows in packed.steps] == [[1, 5, 4], [2, 6], [3]]


def test_last_is_the_state_of_each_sequences_last_token_in_their_order():
    packed = Packed(TOKENS, NUM_TOKENS)
    assert packed.last(states(packed)).squeeze(1).tolist() == [3, 4, 6]


def test_pad_brings_the_states_back_to_their_sequences():
    packed = Packed(TOKENS, NUM_TOKENS)
    padded = packed.pad(states(packed)).squeeze(2)
    there = torch.arange(4) < NUM_TOKENS[:, None]
    assert padded.shape == TOKENS.shape
    assert torch.equal(padded[there], TOKENS[there].float())


def test_the_steps_have_the_groups_of_their_own_rows():
    packed = Packed(TOKENS, NUM_TOKENS)
    assert [len(rows.groups.slots) for rows in packed.steps] == [3, 2, 1]
    assert packed.steps[2].groups.tokens.tolist() == [3]
