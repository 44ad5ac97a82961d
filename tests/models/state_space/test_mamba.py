"""Mamba against an independent implementation, and against its equations token by token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mambapy.mamba import Mamba as Theirs
from mambapy.mamba import MambaConfig

from bilin.models.state_space.modules import selective_scan
from tests.models.formulas import convolved, gradients, perturbed, rms_norm, silu, softplus
from tests.models.variants import Build, Draw, tier_class

NAMES = {
    "into.weight": "mixer.in_proj.weight",
    "convolution.convolution.weight": "mixer.conv1d.weight",
    "convolution.convolution.bias": "mixer.conv1d.bias",
    "selection.weight": "mixer.x_proj.weight",
    "steps.weight": "mixer.dt_proj.weight",
    "steps.bias": "mixer.dt_proj.bias",
    "A_log": "mixer.A_log",
    "D": "mixer.D",
    "out.weight": "mixer.out_proj.weight",
}
"""Our names of a layer's weights, and theirs."""


@pytest.mark.parametrize("length", [1, 3, 33])
@pytest.mark.parametrize("fields", [{"layers": 1}, {"layers": 3, "state_size": 5, "expand": 3, "conv_size": 2}])
def test_it_is_what_an_independent_implementation_computes(
    build: Build, draw: Draw, fields: dict[str, Any], length: int
) -> None:
    tier = tier_class("mamba")(hidden=20, **fields)
    module = perturbed(build(tier), by=0.2)
    theirs = Theirs(
        MambaConfig(20, tier.layers, d_state=tier.state_size, expand_factor=tier.expand, d_conv=tier.conv_size)
    ).double()
    weights = dict(theirs.named_parameters())
    pairs = {"layers.0.norm.weight": module.norms[0].weight}
    for i, (layer, norm) in enumerate(zip(module.layers, module.norms, strict=True)):
        ours = dict(layer.named_parameters())
        pairs |= {f"layers.{i}.{theirs}": ours[name] for name, theirs in NAMES.items()}
        pairs[f"layers.{i}.norm.weight"] = norm.weight
    assert pairs.keys() == weights.keys()
    with torch.no_grad():
        for name, ours in pairs.items():
            weights[name].copy_(ours.T if name.endswith("A_log") else ours)

    tokens = draw(3, length)
    ours, _ = module.advance(tokens)
    expected = module.last_norm(theirs(module.embedding[tokens]))
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)  # they round A to float32
    for name, found, right in zip(
        pairs, gradients(ours, list(pairs.values())), gradients(expected, [weights[n] for n in pairs]), strict=True
    ):
        right = right.T if name.endswith("A_log") else right
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5, msg=f"{name} differs")


def twin(module: Any, tokens: Any, *, signed: bool) -> Any:
    """Each sequence, token and channel by itself, from the equations."""
    return torch.stack([_sequence(module, module.embedding[row], signed) for row in tokens])


def _sequence(module: Any, x: Any, signed: bool) -> Any:
    for layer, norm in zip(module.layers, module.norms, strict=True):
        x = x + _layer(layer, rms_norm(x, norm.weight), signed)
    return rms_norm(x, module.last_norm.weight)


def _layer(layer: Any, v: Any, signed: bool) -> Any:
    inner, (states, _), rank = len(layer.D), layer.A_log.shape, layer.steps.weight.shape[1]
    into = [layer.into.weight @ v_t for v_t in v]
    h, added = [torch.zeros(states, dtype=v.dtype)] * inner, []
    for x, z in zip(convolved(layer.convolution, [x[:inner] for x in into]), into, strict=True):
        x = silu(x)
        chosen = layer.selection.weight @ x
        B, C = chosen[rank : rank + states], chosen[rank + states :]
        steps = softplus(layer.steps.weight @ chosen[:rank] + layer.steps.bias)
        y = []
        for i in range(inner):
            a = (-steps[i] * layer.A_log[:, i].exp()).exp()
            a = 2 * a - 1 if signed else a
            h[i] = a * h[i] + steps[i] * x[i] * B
            y.append(h[i] @ C + layer.D[i] * x[i])
        added.append(layer.out.weight @ (torch.stack(y) * silu(z[inner:])))
    return torch.stack(added)


@pytest.mark.parametrize("fields", [{}, {"eigenvalues": "signed"}, {"conv_size": 0}], ids=str)
def test_it_is_what_its_equations_say(build: Build, draw: Draw, fields: dict[str, Any]) -> None:
    tier = tier_class("mamba")(hidden=6, state_size=3, **fields)
    module, tokens = perturbed(build(tier)), draw(2, 7)
    ours, _ = module.advance(tokens)
    expected = twin(module, tokens, signed=tier.eigenvalues == "signed")
    torch.testing.assert_close(ours, expected)
    weights = [weight for name, weight in module.named_parameters() if name != "readout.weight"]
    torch.testing.assert_close(gradients(ours, weights), gradients(expected, weights))


@pytest.mark.parametrize("signed", [False, True])
def test_gradients_also_go_through_the_state(signed: bool) -> None:
    torch.manual_seed(0)
    shapes = [(2, 3, 2), (2, 3, 2), (2, 2), (2, 3, 2), (2, 3, 2), (2, 2, 2)]
    w, steps, A, B, C, h = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    leaves = [value.requires_grad_() for value in (w, steps.abs(), -A.abs(), B, C, h)]
    assert torch.autograd.gradcheck(lambda *values: selective_scan(*values, signed=signed), leaves)


@pytest.mark.parametrize("signed", [False, True])
def test_a_long_sequence_of_great_and_tiny_steps_stays_finite(signed: bool) -> None:
    torch.manual_seed(0)
    steps = (torch.randn(2, 800, 4) * 10).exp().requires_grad_()
    w, B, C = torch.randn(2, 800, 4), torch.randn(2, 800, 3), torch.randn(2, 800, 3)
    y, _ = selective_scan(w, steps, -torch.ones(3, 4), B, C, None, signed=signed)
    y.sum().backward()
    assert y.isfinite().all()
    assert steps.grad is not None
    assert steps.grad.isfinite().all()


def test_the_count_of_weights_is_that_of_the_formula() -> None:
    H, I, N, K, R = 256, 512, 16, 4, 16  # noqa: E741
    with torch.device("meta"):
        module = tier_class("mamba")().build(vocab_size=5, num_classes=4)
    assert module.recurrent_params == 2 * (3 * H * I + I * (2 * R + 3 * N + K + 3) + H) + H
