"""The fast recurrence against the loop of the definition, with explicit matrices."""

from __future__ import annotations

import pytest
import torch

from bilin.models.bilinear.recurrence.naive import naive_forward


def assert_alike(module, tokens, num_tokens, *, every_token):
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
def test_the_fast_path_equals_its_naive_twin(bilinear_tier, build, draw, length):
    assert_alike(build(bilinear_tier), draw(2, length), torch.full((2,), length), every_token=False)


@pytest.mark.parametrize("every_token", [True, False])
@pytest.mark.parametrize("normalize", ["readout", "state", "none", "evaluation"])
def test_they_are_equal_at_mixed_lengths(bilinear_tier, build, draw, normalize, every_token):
    module = build(bilinear_tier).train(normalize != "evaluation")
    module.normalize = normalize
    assert_alike(module, draw(5, 7), torch.tensor([3, 7, 1, 7, 2]), every_token=every_token)


def test_a_product_that_leaves_float32_is_taken_step_by_step_or_in_logarithms(scale_invariant_tier, build, draw):
    module, tokens, num_tokens = build(scale_invariant_tier).eval(), draw(2, 400), torch.tensor([400, 300])
    exact = naive_forward(module, tokens, num_tokens)
    torch.testing.assert_close(module.float()(tokens, num_tokens).double(), exact, rtol=1e-2, atol=1e-2)
