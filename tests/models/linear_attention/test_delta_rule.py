"""The four tiers of the delta rule against their equations, with explicit matrices, and against one another."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bilin.models.linear_attention.modules import Decay, DeltaLayer, delta_rule
from tests.models.formulas import convolved, sigmoid, silu, softplus
from tests.models.linear_attention.twins import added, assert_alike
from tests.models.variants import Build, Draw, tier_class

TIERS = ["deltanet", "gated_deltanet", "deltaproduct", "gated_deltaproduct"]


def stepped(q: Any, k: Any, v: Any, beta: Any, alpha: Any, state: Any) -> Any:
    """S <- αS, then S <- S (I - β k kᵀ) + β v kᵀ for every product, o = S q, for one head of one sequence."""
    identity, read = torch.eye(k.shape[-1], dtype=k.dtype), []
    for t in range(len(q)):
        state = alpha[t] * state
        for j in range(k.shape[1]):
            key, value, strength = k[t, j], v[t, j], beta[t, j]
            state = state @ (identity - strength * torch.outer(key, key)) + strength * torch.outer(value, key)
        read.append(state @ q[t])
    return torch.stack(read), state


def equations(tier: Any, layer: Any, x: Any) -> Any:
    """What a layer adds, for one sequence."""
    heads, n, d = tier.heads, getattr(tier, "householders", 1), tier.hidden // tier.heads
    vectors = x @ layer.inputs.projection.weight.T
    vectors = silu(torch.stack(convolved(layer.inputs.convolution, vectors))).view(len(x), 1 + 2 * n, heads, d)
    beta = sigmoid(x @ layer.beta.weight.T).view(len(x), n, heads)
    beta = beta * 2 if tier.eigenvalues == "signed" else beta
    alpha = torch.ones(len(x), heads, dtype=x.dtype)
    if tier.tier.startswith("gated"):
        rate = softplus(x @ layer.decay.rate.weight.T + layer.decay.rate.bias)
        alpha = torch.exp(-torch.exp(layer.decay.log_scale) * rate)
    read = []
    for head in range(heads):
        q, k, v = vectors[:, 0, head], vectors[:, 1 : 1 + n, head], vectors[:, 1 + n :, head]
        q, k = (directions / (directions**2).sum(-1, keepdim=True).sqrt() for directions in (q, k))
        read.append(stepped(q, k, v, beta[:, :, head], alpha[:, head], torch.zeros(d, d, dtype=x.dtype))[0])
    return torch.stack([added(layer, [head[t] for head in read], x[t]) for t in range(len(x))])


@pytest.mark.parametrize(
    ("fields", "length"),
    [({}, 35), ({"eigenvalues": "signed", "conv_size": 3}, 7), ({"eigenvalues": "positive"}, 1)],
)
@pytest.mark.parametrize("name", TIERS)
def test_a_layer_is_what_the_equations_say(name: str, fields: dict[str, Any], length: int) -> None:
    torch.manual_seed(0)
    tier = tier_class(name)(hidden=6, heads=2, **fields)
    layer = DeltaLayer(tier).double()
    assert_alike(layer, lambda x: equations(tier, layer, x), hidden=6, length=length)


@pytest.mark.parametrize("products", [1, 3, 33])
@pytest.mark.parametrize("decays", [None, 0.1, 800.0])
def test_chunks_go_on_from_a_state_and_forget_as_step_by_step(products: int, decays: float | None) -> None:
    torch.manual_seed(0)
    q, k, v = (
        torch.randn(35, 4),
        torch.nn.functional.normalize(torch.randn(35, products, 4), dim=-1),
        torch.randn(35, products, 5),
    )
    drawn = [part.double() for part in (q, k, v, 2 * torch.rand(35, products), torch.randn(5, 4))]
    q, k, v, beta, state = drawn
    q1, k1, v1 = [part.unsqueeze(0).unsqueeze(-2) for part in (q, k, v)]
    log_alpha = None if decays is None else -decays * torch.rand(35).double()
    alpha = torch.ones(35) if log_alpha is None else log_alpha.exp()
    faded = None if log_alpha is None else log_alpha[None, :, None]
    read, last = delta_rule(q1, k1, v1, beta[None, ..., None], faded, state[None, None])
    torch.testing.assert_close((read[0, :, 0], last[0, 0]), stepped(q, k, v, beta, alpha, state))


def test_reflections_stay_exact_in_float32_over_800_tokens() -> None:
    torch.manual_seed(0)
    q, k = (torch.nn.functional.normalize(torch.randn(800, n, 4), dim=-1) for n in (1, 2))
    v, beta, state = torch.randn(800, 2, 4), torch.full((800, 2), 2.0), torch.randn(4, 4)
    exact, _ = stepped(*(part.double() for part in (q[:, 0], k, v, beta, torch.ones(800), state)))
    read, _ = delta_rule(
        q[None], k[None, :, :, None], v[None, :, :, None], beta[None, ..., None], None, state[None, None]
    )
    torch.testing.assert_close(read[0, :, 0].double(), exact, rtol=1e-3, atol=1e-3 * exact.abs().max().item())


@pytest.mark.parametrize("gated", ["", "gated_"])
def test_one_householder_is_deltanet(gated: Any, build: Build, draw: Draw) -> None:
    product = build(tier_class(f"{gated}deltaproduct")(hidden=8, heads=2, householders=1))
    net = build(tier_class(f"{gated}deltanet")(hidden=8, heads=2, eigenvalues="signed"), seed=1)
    net.load_state_dict(product.state_dict())
    assert torch.equal(net.advance(draw(3, 40))[0], product.advance(draw(3, 40))[0])


@pytest.mark.parametrize("name", ["deltanet", "deltaproduct"])
def test_without_decay_the_gated_tier_is_the_other(name: str, build: Build, draw: Draw) -> None:
    ungated = build(tier_class(name)(hidden=8, heads=2, output_gate=True))
    gated = build(tier_class(f"gated_{name}")(hidden=8, heads=2), seed=1)
    gated.load_state_dict(ungated.state_dict(), strict=False)
    assert not torch.allclose(gated.advance(draw(3, 40))[0], ungated.advance(draw(3, 40))[0])
    torch.nn.init.constant_(gated.layers[0].decay.log_scale, -math.inf)
    torch.testing.assert_close(gated.advance(draw(3, 40))[0], ungated.advance(draw(3, 40))[0])


def test_initial_rates_of_decay_are_uniform_from_0_to_16() -> None:
    torch.manual_seed(0)
    rates = Decay(1, 4000).log_scale.detach().exp()
    for least in (0.0, 0.5, 4.0, 15.0):
        assert float((rates < least).double().mean()) == pytest.approx(least / 16, abs=0.03)
    assert float((rates < 0.5).double().mean()) > 0.01
