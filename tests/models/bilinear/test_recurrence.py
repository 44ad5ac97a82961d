"""The fast recurrence against the loop of its definition, and its layout of sequences of mixed lengths."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bilin.models import Tier
from bilin.models.bilinear.bilinear import Bilinear
from bilin.models.bilinear.recurrence import Packed, naive_forward
from tests.models.variants import Build, Draw

TOKENS = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 0, 0]])
NUM_TOKENS = torch.tensor([3, 1, 2])


def assert_alike(module: Any, tokens: Any, num_tokens: Any, *, every_token: bool) -> None:
    """The same logits, and the same gradient of every weight."""
    there = torch.arange(tokens.shape[1]) < num_tokens[:, None]
    found = []
    for forward in (module, lambda *args, **kwargs: naive_forward(module, *args, **kwargs)):
        logits = forward(tokens, num_tokens, every_token=every_token)
        logits = logits[there] if every_token else logits
        direction = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)
        found.append([logits, *torch.autograd.grad((logits * direction).sum(), list(module.parameters()))])
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("length", [1, 7, 63])
def test_the_fast_path_equals_its_naive_twin(bilinear_tier: Bilinear, build: Build, draw: Draw, length: int) -> None:
    assert_alike(build(bilinear_tier), draw(2, length), torch.full((2,), length), every_token=False)


@pytest.mark.parametrize("every_token", [True, False])
@pytest.mark.parametrize("normalize", ["readout", "state", "none", "evaluation"])
def test_they_are_equal_at_mixed_lengths(
    bilinear_tier: Bilinear, build: Build, draw: Draw, normalize: str, every_token: bool
) -> None:
    module = build(bilinear_tier).train(normalize != "evaluation")
    module.normalize = normalize
    assert_alike(module, draw(5, 7), torch.tensor([3, 7, 1, 7, 2]), every_token=every_token)


def test_products_out_of_the_range_of_float32_stay_accurate(
    scale_invariant_tier: Tier, build: Build, draw: Draw
) -> None:
    module, tokens, num_tokens = build(scale_invariant_tier).eval(), draw(2, 400), torch.tensor([400, 300])
    exact = naive_forward(module, tokens, num_tokens)
    torch.testing.assert_close(module.float()(tokens, num_tokens).double(), exact, rtol=1e-2, atol=1e-2)


def states(packed: Any) -> Any:
    """A state of width 1 a token, the token itself."""
    return [rows.tokens[:, None].float() for rows in packed.steps]


def test_the_longest_sequences_come_first_and_ended_ones_are_left_out() -> None:
    packed = Packed(TOKENS, NUM_TOKENS)
    assert packed.sizes == [3, 2, 1]
    assert [rows.tokens.tolist() for rows in packed.steps] == [[1, 5, 4], [2, 6], [3]]


def test_last_returns_the_final_states_in_the_order_of_the_sequences() -> None:
    packed = Packed(TOKENS, NUM_TOKENS)
    assert packed.last(states(packed)).squeeze(1).tolist() == [3, 4, 6]


def test_pad_returns_the_states_to_their_sequences() -> None:
    packed = Packed(TOKENS, NUM_TOKENS)
    padded = packed.pad(states(packed)).squeeze(2)
    there = torch.arange(4) < NUM_TOKENS[:, None]
    assert padded.shape == TOKENS.shape
    assert torch.equal(padded[there], TOKENS[there].float())


def test_the_steps_have_the_groups_of_their_own_rows() -> None:
    packed = Packed(TOKENS, NUM_TOKENS)
    assert [len(rows.groups.slots) for rows in packed.steps] == [3, 2, 1]
    last = packed.steps[2].groups.tokens
    assert last is not None
    assert last.tolist() == [3]
