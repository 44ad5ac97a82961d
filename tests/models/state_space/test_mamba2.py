"""Mamba-2 against its equations, token by token and head by head."""

from __future__ import annotations

import pytest
import torch

from bilin.models import tier_settings
from bilin.models.state_space.chunks import CHUNK, scan_in_chunks


def drawn(**fields):
    """A module in float64, with none of its weights at a special value."""
    torch.manual_seed(0)
    module = tier_settings("mamba2")(hidden=6, state_size=3, heads=3, **fields).build(vocab_size=5, num_classes=4)
    with torch.no_grad():
        for weight in module.double().parameters():
            weight.add_(torch.randn_like(weight), alpha=0.3)
    return module


def gradients(values, weights):
    direction = torch.linspace(-1, 1, values.numel(), dtype=values.dtype).view_as(values)
    return torch.autograd.grad((values * direction).sum(), weights)


def normed(x, weight):
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight


def silu(x):
    return x / (1 + (-x).exp())


def twin(module, tokens, *, signed):
    """Each sequence, token and head by itself, from the equations."""
    rows = []
    for row in tokens:
        x = module.embedding[row]
        for layer, norm in zip(module.layers, module.norms, strict=True):
            x = x + _layer(layer, normed(x, norm.weight), signed)
        rows.append(normed(x, module.last_norm.weight))
    return torch.stack(rows)


def _layer(layer, v, signed):
    weight, bias = layer.convolution.convolution.weight[:, 0], layer.convolution.convolution.bias
    size, inner, heads = weight.shape[1], layer.out.weight.shape[1], len(layer.D)
    width, states = inner // heads, (len(weight) - inner) // 2
    into = [layer.into.weight @ v_t for v_t in v]
    h, added = [torch.zeros(width, states, dtype=v.dtype)] * heads, []
    for t, now in enumerate(into):
        past = [into[t - k][inner : inner + len(weight)] for k in range(min(size, t + 1))]
        mixed = silu(bias + sum(weight[:, size - 1 - k] * x for k, x in enumerate(past)))
        x, B, C = mixed[:inner], mixed[inner : inner + states], mixed[inner + states :]
        steps = (1 + (now[-heads:] + layer.step_bias).exp()).log()
        y = []
        for i in range(heads):
            a = (-steps[i] * layer.A_log[i].exp()).exp()
            a = 2 * a - 1 if signed else a
            x_i = x[i * width : (i + 1) * width]
            h[i] = a * h[i] + steps[i] * torch.outer(x_i, B)
            y.append(h[i] @ C + layer.D[i] * x_i)
        added.append(layer.out.weight @ normed(torch.cat(y) * silu(now[:inner]), layer.norm.weight))
    return torch.stack(added)


@pytest.mark.parametrize("length", [3, CHUNK + 3])
@pytest.mark.parametrize("eigenvalues", ["positive", "signed"])
def test_it_is_what_its_equations_say(eigenvalues, length):
    module = drawn(eigenvalues=eigenvalues)
    tokens = torch.randint(5, (2, length))
    ours, _ = module.advance(tokens)
    expected = twin(module, tokens, signed=eigenvalues == "signed")
    torch.testing.assert_close(ours, expected)
    weights = [weight for name, weight in module.named_parameters() if name != "readout.weight"]
    torch.testing.assert_close(gradients(ours, weights), gradients(expected, weights))


def test_gradients_also_go_through_the_state():
    module, tokens = drawn(), torch.randint(5, (2, 9))
    whole, _ = module.advance(tokens)
    first, state = module.advance(tokens[:, :4])
    split = torch.cat([first, module.advance(tokens[:, 4:], state)[0]], dim=1)
    weights = [weight for name, weight in module.named_parameters() if name != "readout.weight"]
    torch.testing.assert_close(gradients(split, weights), gradients(whole, weights))


def test_factors_of_any_sign_and_size_are_multiplied_in_float32():
    torch.manual_seed(0)
    a = torch.tensor([1.0, -1.0, 0.0, -1e-30, 1e-30, -0.5])[torch.randint(6, (2, 2 * CHUNK, 3))].requires_grad_()
    w, B, C = torch.randn(2, 2 * CHUNK, 3, 2), torch.randn(2, 2 * CHUNK, 4), torch.randn(2, 2 * CHUNK, 4)
    y, _ = scan_in_chunks(w, a, B, C, None)
    h, expected = torch.zeros(2, 3, 2, 4), []
    for t in range(2 * CHUNK):
        h = a[:, t, :, None, None] * h + w[:, t, :, :, None] * B[:, t, None, None]
        expected.append((h * C[:, t, None, None]).sum(-1))
    expected = torch.stack(expected, dim=1)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(*(torch.autograd.grad(values.square().sum(), a) for values in (y, expected)))


def test_heads_must_divide_the_channels():
    mamba2 = tier_settings("mamba2")
    assert mamba2(hidden=12, expand=1, heads=3).problems() == {}
    assert mamba2(hidden=6, expand=3, heads=9).problems() == {}
    assert mamba2(hidden=6, heads=9).problems() == {"heads": "a divisor of hidden times expand (12)"}


def test_the_count_of_weights_is_that_of_the_formula():
    H, I, N, K, heads = 256, 512, 64, 4, 8  # noqa: E741
    with torch.device("meta"):
        module = tier_settings("mamba2")().build(vocab_size=5, num_classes=4)
    layer = 3 * H * I + 2 * H * N + H * heads + (I + 2 * N) * (K + 1) + 3 * heads + I
    assert module.recurrent_params == 2 * (layer + H) + H
