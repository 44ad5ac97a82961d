"""Mamba-2 against its equations, token by token and head by head."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bilin.models.state_space.modules import CHUNK, scan_in_chunks
from tests.models.formulas import convolved, gradients, perturbed, rms_norm, silu, softplus
from tests.models.variants import Build, Draw, tier_class


def twin(module: Any, tokens: Any, *, signed: bool) -> Any:
    """Each sequence, token and head by itself, from the equations."""
    rows = []
    for row in tokens:
        x = module.embedding[row]
        for layer, norm in zip(module.layers, module.norms, strict=True):
            x = x + _layer(layer, rms_norm(x, norm.weight), signed)
        rows.append(rms_norm(x, module.last_norm.weight))
    return torch.stack(rows)


def _layer(layer: Any, v: Any, signed: bool) -> Any:
    inner, heads = layer.out.weight.shape[1], len(layer.D)
    width, states = inner // heads, (len(layer.into.weight) - 2 * inner - heads) // 2
    into = [layer.into.weight @ v_t for v_t in v]
    h, added = [torch.zeros(width, states, dtype=v.dtype)] * heads, []
    for mixed, now in zip(convolved(layer.convolution, [x[inner:-heads] for x in into]), into, strict=True):
        x, B, C = silu(mixed).split([inner, states, states])
        steps = softplus(now[-heads:] + layer.step_bias)
        y = []
        for i in range(heads):
            a = (-steps[i] * layer.A_log[i].exp()).exp()
            a = 2 * a - 1 if signed else a
            x_i = x[i * width : (i + 1) * width]
            h[i] = a * h[i] + steps[i] * torch.outer(x_i, B)
            y.append(h[i] @ C + layer.D[i] * x_i)
        added.append(layer.out.weight @ rms_norm(torch.cat(y) * silu(now[:inner]), layer.norm.weight))
    return torch.stack(added)


def small(**fields: Any) -> Any:
    return tier_class("mamba2")(hidden=6, state_size=3, heads=3, **fields)


@pytest.mark.parametrize(
    ("fields", "length"), [({}, CHUNK + 3), ({"eigenvalues": "signed"}, CHUNK + 3), ({"conv_size": 0}, 3)], ids=str
)
def test_it_is_what_its_equations_say(build: Build, draw: Draw, fields: dict[str, Any], length: int) -> None:
    module, tokens = perturbed(build(small(**fields))), draw(2, length)
    ours, _ = module.advance(tokens)
    expected = twin(module, tokens, signed="eigenvalues" in fields)
    torch.testing.assert_close(ours, expected)
    weights = [weight for name, weight in module.named_parameters() if name != "readout.weight"]
    torch.testing.assert_close(gradients(ours, weights), gradients(expected, weights))


def test_gradients_also_go_through_the_state(build: Build, draw: Draw) -> None:
    module, tokens = perturbed(build(small())), draw(2, 9)
    whole, _ = module.advance(tokens)
    first, state = module.advance(tokens[:, :4])
    split = torch.cat([first, module.advance(tokens[:, 4:], state)[0]], dim=1)
    weights = [weight for name, weight in module.named_parameters() if name != "readout.weight"]
    torch.testing.assert_close(gradients(split, weights), gradients(whole, weights))


def test_factors_of_any_sign_and_size_are_multiplied_in_float32() -> None:
    torch.manual_seed(0)
    a = torch.tensor([1.0, -1.0, 0.0, -1e-30, 1e-30, -0.5])[torch.randint(6, (2, 2 * CHUNK, 3))].requires_grad_()
    w, B, C = torch.randn(2, 2 * CHUNK, 3, 2), torch.randn(2, 2 * CHUNK, 4), torch.randn(2, 2 * CHUNK, 4)
    y, _ = scan_in_chunks(w, a, B, C, None)
    h, outputs = torch.zeros(2, 3, 2, 4), []
    for t in range(2 * CHUNK):
        h = a[:, t, :, None, None] * h + w[:, t, :, :, None] * B[:, t, None, None]
        outputs.append((h * C[:, t, None, None]).sum(-1))
    expected = torch.stack(outputs, dim=1)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(*(torch.autograd.grad(values.square().sum(), a) for values in (y, expected)))


def test_heads_must_divide_the_channels() -> None:
    mamba2 = tier_class("mamba2")
    assert mamba2(hidden=12, expand=1, heads=3).problems() == {}
    assert mamba2(hidden=6, expand=3, heads=9).problems() == {}
    assert mamba2(hidden=6, heads=9).problems() == {"heads": "a divisor of hidden times expand (12)"}


def test_the_count_of_weights_is_that_of_the_formula() -> None:
    H, I, N, K, heads = 256, 512, 64, 4, 8  # noqa: E741
    with torch.device("meta"):
        module = tier_class("mamba2")().build(vocab_size=5, num_classes=4)
    layer = 3 * H * I + 2 * H * N + H * heads + (I + 2 * N) * (K + 1) + 3 * heads + I
    assert module.recurrent_params == 2 * (layer + H) + H
