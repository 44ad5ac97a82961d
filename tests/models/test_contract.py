"""What every tier keeps, whatever it computes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.models.variants import converged

CLASSES = 4
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("length", [1, 2, 63])
def test_shapes_are_one_row_of_logits_a_sequence_or_a_token(tier, build, draw, length):
    module, tokens, num_tokens = build(tier), draw(3, length), torch.full((3,), length)
    assert module(tokens, num_tokens).shape == (3, CLASSES)
    assert module(tokens, num_tokens, every_token=True).shape == (3, length, CLASSES)


@pytest.mark.parametrize("training", [True, False])
def test_final_logits_are_those_of_the_last_token(tier, build, draw, training):
    module, num_tokens = build(tier).train(training), torch.tensor([7, 1, 3])
    tokens = draw(3, 7)
    every = module(tokens, num_tokens, every_token=True)
    torch.testing.assert_close(module(tokens, num_tokens), every[torch.arange(3), num_tokens - 1])


def test_logits_do_not_depend_on_later_tokens(tier, build, draw):
    module, tokens, num_tokens = build(tier), draw(4, 9), torch.full((4,), 9)
    later = torch.cat([tokens[:, :5], draw(4, 4, seed=1)], dim=1)
    ours, theirs = (module(drawn, num_tokens, every_token=True)[:, :5] for drawn in (tokens, later))
    torch.testing.assert_close(ours, theirs)


def test_padding_changes_nothing(tier, build, draw):
    module, num_tokens = build(tier), torch.tensor([2, 5, 1])
    tokens = draw(3, 5)
    padded = torch.where(torch.arange(9) < num_tokens[:, None], torch.nn.functional.pad(tokens, (0, 4)), 3)
    torch.testing.assert_close(module(tokens, num_tokens), module(padded, num_tokens))


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_equals_its_rows_one_by_one(tier, build, draw, training):
    module, tokens, num_tokens = build(tier).train(training), draw(5, 9), torch.tensor([9, 2, 5, 1, 9])
    alone = [module(tokens[i : i + 1, :num], num_tokens[i : i + 1]) for i, num in enumerate(num_tokens)]
    torch.testing.assert_close(module(tokens, num_tokens), torch.cat(alone))


def test_results_are_the_same_with_and_without_gradients(tier, build, draw):
    module, tokens, num_tokens = build(tier), draw(3, 7), torch.tensor([7, 3, 5])
    with_gradients = module(tokens, num_tokens)
    with torch.no_grad():
        torch.testing.assert_close(module(tokens, num_tokens), with_gradients)


@pytest.mark.parametrize("every_token", [True, False])
def test_every_weight_gets_a_finite_gradient_that_is_not_zero(tier, build, draw, every_token):
    module = build(tier)
    module.normalize = "state"
    module(draw(3, 63), torch.tensor([63, 20, 1]), every_token=every_token).square().sum().backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_gives_the_values_and_gradients_of_the_cpu(tier, build, draw, device):
    tokens, num_tokens, found = draw(3, 9), torch.tensor([9, 2, 5]), []
    for place in ("cpu", device):
        module = build(tier).to(place)
        logits = module(tokens.to(place), num_tokens.to(place))
        logits.square().sum().backward()
        gradients = [weight.grad.cpu() for weight in module.parameters() if weight.grad is not None]
        found.append((logits.detach().cpu(), gradients))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


def test_one_seed_builds_one_module(tier, build):
    ours, same, other = (build(tier, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(ours[name], same[name]) for name in ours)
    assert not torch.equal(ours["embedding"], other["embedding"])


def test_a_saved_state_brings_the_logits_back(tier, build, draw):
    module, other, tokens, num_tokens = build(tier), build(tier, 1), draw(3, 7), torch.tensor([7, 3, 5])
    other.load_state_dict(module.state_dict())
    assert torch.equal(module(tokens, num_tokens), other(tokens, num_tokens))


@pytest.mark.parametrize("training", [True, False])
def test_a_state_carried_across_a_split_gives_what_the_whole_gives(tier, build, draw, training):
    module, tokens = build(converged(tier)).train(training), draw(3, 9)
    whole, last = module.advance(tokens)
    first, state = module.advance(tokens[:, :4])
    second, end = module.advance(tokens[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(end, last)


def test_what_is_advanced_and_read_are_the_logits(tier, build, draw):
    module, tokens = build(tier), draw(3, 9)
    features, _ = module.advance(tokens)
    torch.testing.assert_close(module.readout(features), module(tokens, torch.full((3,), 9), every_token=True))


def test_predictions_are_the_same_however_the_state_is_normalized(scale_invariant_tier, build, draw):
    module, tokens, num_tokens = build(scale_invariant_tier), draw(64, 10), torch.arange(64) % 10 + 1
    predictions = [module.eval()(tokens, num_tokens).argmax(1)]
    for normalize in ("readout", "state", "none"):
        module.train().normalize = normalize
        predictions.append(module(tokens, num_tokens).argmax(1))
    assert all(torch.equal(predictions[0], others) for others in predictions)


def test_normalizing_each_step_keeps_values_and_gradients(scale_invariant_tier, build, draw):
    module, tokens, num_tokens = build(scale_invariant_tier), draw(8, 10), torch.arange(8) + 2
    found = []
    for module.normalize in ("readout", "state"):
        logits = module(tokens, num_tokens)
        found.append([logits, *torch.autograd.grad(logits.exp().sum(), list(module.parameters()))])
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("init_scale", [0.01, 100.0])
def test_the_state_stays_in_range_at_length_800(scale_invariant_tier, build, draw, init_scale):
    tier = dataclasses.replace(scale_invariant_tier, init_scale=init_scale)
    with torch.no_grad():
        logits = build(tier).float().eval()(draw(2, 800), torch.tensor([800, 799]))
    assert logits.isfinite().all()
    assert (logits != 0).any()
