"""The fast recurrence against the loop of its definition, and its layout of sequences of mixed lengths."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from bilin.models import Tier
from bilin.models.bilinear import recurrence
from bilin.models.bilinear.bilinear import Bilinear
from bilin.models.bilinear.layout import Packed, Padded
from bilin.models.bilinear.recurrence import naive_forward
from bilin.testing.tiers import label
from tests.models.variants import Build, Draw, variants

TOKENS = torch.tensor([[[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 0, 0]], [[1, 0, 0, 0], [2, 8, 0, 0], [3, 9, 0, 0]]])
NUM_TOKENS = torch.tensor([[3, 1, 1], [1, 2, 2]])


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


ADDITIVE = [tier for tier in variants() if isinstance(tier, Bilinear) and tier.additive]


def large(tier: Bilinear, build: Build) -> Any:
    """A module whose state becomes about 7 times as large with each token, if the tier can do that."""
    return build(dataclasses.replace(tier, init_scale=7.0)).eval()


@pytest.mark.parametrize("tier", ADDITIVE, ids=label)
def test_additive_terms_leave_the_range_of_floats_without_harm(tier: Bilinear, build: Build, draw: Draw) -> None:
    module, tokens, num_tokens = large(tier, build), draw(16, 40), torch.full((16,), 40)
    exact = naive_forward(module, tokens, num_tokens, every_token=True)
    module.float()
    with torch.no_grad():
        found = module(tokens, num_tokens, every_token=True).double()
        longer = module(draw(4, 2000), torch.full((4,), 2000))
    fits = exact.abs().amax(2) < 1e18
    torch.testing.assert_close(found[fits], exact[fits], rtol=1e-2, atol=1e-2)
    direction = exact / exact.abs().amax(2, keepdim=True)
    torch.testing.assert_close(found / found.abs().amax(2, keepdim=True), direction, rtol=1e-2, atol=1e-2)
    assert longer.isfinite().all()
    assert longer.any()


@pytest.mark.parametrize("tier", ADDITIVE, ids=label)
def test_gradients_of_large_states_with_additive_terms(tier: Bilinear, build: Build, draw: Draw) -> None:
    assert_alike(large(tier, build), draw(3, 40), torch.tensor([40, 7, 39]), every_token=True)


def states(layout: Any) -> Any:
    """A state of width 1 a token, the token itself, which a dead row keeps."""
    now, found = torch.zeros(*TOKENS.shape[:2]), []
    for rows in layout.steps:
        now = now[:, : rows.size]
        tokens = rows.tokens.view(len(TOKENS), -1).float()
        now = tokens if rows.live is None else torch.where(rows.live, tokens, now)
        found.append(now.unsqueeze(2))
    return found


def test_the_longest_sequences_of_each_member_come_first_and_ended_ones_are_left_out() -> None:
    packed = Packed(TOKENS, NUM_TOKENS, vocab=10)
    assert packed.sizes == [3, 2, 1]
    assert [rows.tokens.tolist() for rows in packed.steps] == [[1, 4, 5, 12, 13, 11], [2, 20, 18, 19], [3, 20]]
    assert [None if rows.live is None else rows.live.tolist() for rows in packed.steps] == [
        None,
        [[True, False], [True, True]],
        [[True], [False]],
    ]


def test_the_number_of_rows_is_a_multiple_or_the_batch() -> None:
    tokens, num_tokens = torch.zeros(1, 9, 4, dtype=torch.int64), torch.tensor([[4, 3, 3, 2, 2, 2, 1, 1, 1]])
    assert Packed(tokens, num_tokens, vocab=1, multiple=4).sizes == [9, 8, 4, 4]


@pytest.mark.parametrize("kind", [Packed, Padded])
def test_last_returns_the_final_states_in_the_order_of_the_sequences(kind: Any) -> None:
    layout = kind(TOKENS, NUM_TOKENS, vocab=10)
    assert layout.last(states(layout)).squeeze(2).tolist() == [[3, 4, 5], [11, 18, 19]]


@pytest.mark.parametrize("kind", [Packed, Padded])
def test_pad_returns_the_states_to_their_sequences(kind: Any) -> None:
    layout = kind(TOKENS, NUM_TOKENS, vocab=10)
    padded = layout.pad(states(layout)).squeeze(3)
    there = torch.arange(4) < NUM_TOKENS[:, :, None]
    assert padded.shape == TOKENS.shape
    assert torch.equal(padded[there], (TOKENS + torch.tensor([0, 10])[:, None, None])[there].float())


@pytest.mark.parametrize("kind", [Packed, Padded])
def test_states_start_in_the_order_of_the_layout(kind: Any) -> None:
    layout = kind(TOKENS, NUM_TOKENS, vocab=10)
    start = torch.arange(6.0).view(2, 3, 1)
    assert torch.equal(layout.last([layout.start(start)[:, : rows.size] for rows in layout.steps]), start)


def test_the_steps_have_the_groups_of_their_own_rows() -> None:
    packed = Packed(TOKENS, NUM_TOKENS, vocab=10)
    groups = [rows.groups for rows in packed.steps]
    assert [len(part.slots) for part in groups if part] == [6, 4, 2]
    assert groups[2] is not None
    assert groups[2].tokens is not None
    assert groups[2].tokens.tolist() == [3]


@pytest.mark.parametrize("every_token", [True, False])
def test_the_layout_that_looks_at_no_value_gives_the_same(
    bilinear_tier: Bilinear, build: Build, draw: Draw, every_token: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, tokens, num_tokens = build(bilinear_tier), draw(5, 7), torch.tensor([3, 7, 1, 7, 2])
    there = torch.arange(7) < num_tokens[:, None] if every_token else ...
    results = []
    for is_cuda in (False, True):
        monkeypatch.setattr(recurrence, "sees_values", lambda _, is_cuda=is_cuda: not is_cuda)
        logits = module(tokens, num_tokens, every_token=every_token)[there]
        results.append([logits, *torch.autograd.grad(logits.sin().sum(), list(module.parameters()))])
    torch.testing.assert_close(*results)
