"""The transformer against its formulas, query by query and head by head, and against torch's own layer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from tests.models.formulas import norm, perturbed, values_and_gradients
from tests.models.variants import Build, Draw, settings, tier_class

POSITIONS = ("alibi", "rope", "sinusoidal", "learned", "none")


def turned(x: Any, position: int) -> Any:
    """RoPE: pairs (0, 1), (2, 3), … by position · 10000^(-2j/width)."""
    out = []
    for j in range(0, len(x), 2):
        angle = position * 10000 ** (-j / len(x))
        cos, sin = math.cos(angle), math.sin(angle)
        out += [cos * x[j] - sin * x[j + 1], sin * x[j] + cos * x[j + 1]]
    return torch.stack(out)


def normed(x: Any, layer_norm: Any) -> Any:
    return norm(x) * layer_norm.weight + layer_norm.bias


def embedded(module: Any, tier: Any, token: Any, position: int) -> Any:
    x = module.embedding[token]
    if tier.positions == "learned":
        x = x + module.positions[min(position, 1023)]
    if tier.positions == "sinusoidal":
        angles = [position / 10000 ** (i // 2 * 2 / tier.hidden) for i in range(tier.hidden)]
        waves = [math.cos(angle) if i % 2 else math.sin(angle) for i, angle in enumerate(angles)]
        x = x + 0.02 * torch.tensor(waves, dtype=x.dtype)
    return x


def attended(layer: Any, tier: Any, xs: Any, time: int, head: int) -> Any:
    """What one head finds at one time."""
    width = tier.hidden // tier.heads
    q, k, v = (
        [
            (layer.inputs.weight @ x + layer.inputs.bias)[part * tier.hidden + head * width :][:width]
            for x in xs[: time + 1]
        ]
        for part in range(3)
    )
    if tier.positions == "rope":
        q, k = ([turned(x, position) for position, x in enumerate(those)] for those in (q, k))
    slope = 2 ** (-8 * (head + 1) / tier.heads) if tier.positions == "alibi" else 0
    scores = [q[time] @ k[s] / math.sqrt(width) - slope * (time - s) for s in range(time + 1)]
    weights = [score.exp() for score in scores]
    return sum(weight * value for weight, value in zip(weights, v, strict=True)) / sum(weights)


def by_the_formulas(module: Any, tier: Any, tokens: Any) -> Any:
    rows = []
    for row in tokens:
        xs = [embedded(module, tier, token, position) for position, token in enumerate(row)]
        for index in range(0, 2 * tier.layers, 2):
            attention, perceptron = module.layers[index], module.layers[index + 1]
            seen = [normed(x, module.norms[index]) for x in xs]
            for time in range(len(xs)):
                found = torch.cat([attended(attention, tier, seen, time, head) for head in range(tier.heads)])
                xs[time] = xs[time] + attention.output.weight @ found + attention.output.bias
                inner = perceptron.inputs.weight @ normed(xs[time], module.norms[index + 1]) + perceptron.inputs.bias
                inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
                xs[time] = xs[time] + perceptron.output.weight @ inner + perceptron.output.bias
        rows.append(module.readout.weight @ normed(xs[-1], module.last_norm))
    return torch.stack(rows)


@pytest.mark.parametrize("positions", POSITIONS)
def test_it_is_its_formulas(build: Build, draw: Draw, positions: str) -> None:
    tier = settings("transformer", positions=positions, hidden=12, heads=3)
    module, tokens = perturbed(build(tier)), draw(2, 7)
    ways = module(tokens, torch.full((2,), 7)), by_the_formulas(module, tier, tokens)
    ours, theirs = values_and_gradients(module, *ways)
    torch.testing.assert_close(ours, theirs)


def test_it_is_the_layer_that_torch_has(build: Build, draw: Draw) -> None:
    tier = settings("transformer", positions="none", layers=1)
    module, x = perturbed(build(tier)), torch.randn(3, 9, 8, dtype=torch.float64)
    attention, perceptron = module.layers
    theirs = nn.TransformerEncoderLayer(8, 4, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    theirs.double().load_state_dict({
        "self_attn.in_proj_weight": attention.inputs.weight, "self_attn.in_proj_bias": attention.inputs.bias,
        "self_attn.out_proj.weight": attention.output.weight, "self_attn.out_proj.bias": attention.output.bias,
        "linear1.weight": perceptron.inputs.weight, "linear1.bias": perceptron.inputs.bias,
        "linear2.weight": perceptron.output.weight, "linear2.bias": perceptron.output.bias,
        **{f"norm{i + 1}.{name}": value for i in (0, 1) for name, value in module.norms[i].named_parameters()},
    })  # fmt: skip
    found = module.last_norm(
        theirs(x, nn.Transformer.generate_square_subsequent_mask(9, dtype=x.dtype), is_causal=True)
    )
    torch.testing.assert_close(module.through(x, None)[0], found)


@pytest.mark.parametrize("positions", POSITIONS)
def test_it_goes_far_beyond_what_it_was_trained_on(build: Build, draw: Draw, positions: str) -> None:
    module = build(settings("transformer", positions=positions, layers=1)).float().eval()
    assert module(draw(1, 1100), torch.tensor([1100])).isfinite().all()


def test_one_layer_without_positions_sees_a_set_and_with_them_an_order(build: Build, draw: Draw) -> None:
    tokens = torch.tensor([[0, 1, 2, 3], [2, 0, 1, 3]])
    for positions in POSITIONS:
        module = perturbed(build(settings("transformer", positions=positions, layers=1)))
        one, other = module(tokens, torch.full((2,), 4))
        assert torch.allclose(one, other) == (positions == "none")


def test_weights_begin_as_in_gpt_2(build: Build) -> None:
    module = build(settings("transformer", hidden=64, positions="learned"))
    std = {name: weight.std().item() for name, weight in module.named_parameters() if weight.dim() == 2}
    for name in ("embedding", "positions", "layers.0.inputs.weight", "layers.3.inputs.weight"):
        assert std[name] == pytest.approx(0.02, rel=0.1)
    for name in ("layers.0.output.weight", "layers.3.output.weight"):
        assert std[name] == pytest.approx(0.02 / 2, rel=0.1)


def test_heads_must_share_the_width() -> None:
    transformer = tier_class("transformer")
    assert transformer(hidden=12, heads=3, positions="rope").problems() == {}
    assert transformer(hidden=12, heads=5).problems() == {"heads": "a divisor of hidden (12)"}
    assert transformer(hidden=12, heads=4).problems() == {}
    odd = {"heads": "a divisor of hidden / 2 (6), for positions: rope"}
    assert transformer(hidden=12, heads=4, positions="rope").problems() == odd
    odd = {"hidden": "an even number, for positions: rope"}
    assert transformer(hidden=9, heads=3, positions="rope").problems() == odd
