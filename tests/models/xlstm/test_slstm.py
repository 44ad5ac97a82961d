"""The sLSTM against its equations without stabiliser, one sequence, time and head after the other."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.models.formulas import convolved, norm, perturbed, sigmoid, silu, values_and_gradients
from tests.models.variants import Build, Draw, settings, tier_class


def head_by_the_equations(layer: Any, tier: Any, seen: Any, xs: Any, head: int) -> Any:
    """h of one head at all times."""
    P = tier.hidden // tier.heads
    part = slice(head * P, head * P + P)
    W = [*layer.from_window.weight[head].split(P, dim=1), *layer.from_token.weight[head].split(P, dim=1)]
    R, b = layer.recurrent[head].split(P, dim=1), layer.bias[head, 0].split(P)
    h = c = n = torch.zeros(P, dtype=torch.float64)
    shown = []
    for w, x in zip(seen, xs, strict=True):
        raw_i, raw_f, raw_z, raw_o = (
            W[gate].T @ given[part] + R[gate].T @ h + b[gate] for gate, given in enumerate((w, w, x, x))
        )
        f = raw_f.exp() if tier.forget_gate == "exp" else sigmoid(raw_f)
        c = f * c + raw_i.exp() * raw_z.tanh()
        n = f * n + raw_i.exp()
        h = sigmoid(raw_o) * c / n
        shown.append(h)
    return shown


def by_the_equations(module: Any, tier: Any, tokens: Any) -> Any:
    rows = []
    for row in tokens:
        xs = [module.embedding[token] for token in row]
        for index in range(0, 2 * tier.layers, 2):
            cell, perceptron = module.layers[index], module.layers[index + 1]
            into, between = ([module.norms[index + i].weight, module.norms[index + i].bias] for i in range(2))
            given = [norm(x) * into[0] + into[1] for x in xs]
            seen = [silu(x) if tier.conv_size else x for x in convolved(cell.window.convolution, given)]
            heads = [head_by_the_equations(cell, tier, seen, given, head) for head in range(tier.heads)]
            for time in range(len(xs)):
                xs[time] = xs[time] + cell.norm.weight * torch.cat([norm(shown[time]) for shown in heads])
                gate, value = (perceptron.inputs.weight @ (norm(xs[time]) * between[0] + between[1])).chunk(2)
                gate = gate * (1 + torch.erf(gate / math.sqrt(2))) / 2
                xs[time] = xs[time] + perceptron.output.weight @ (gate * value)
        rows.append(module.readout.weight @ (norm(xs[-1]) * module.last_norm.weight + module.last_norm.bias))
    return torch.stack(rows)


@pytest.mark.parametrize(
    "fields", [{"layers": 2}, {"forget_gate": "exp"}, {"heads": 1, "conv_size": 0}, {"conv_size": 2}], ids=str
)
def test_it_is_its_equations(build: Build, draw: Draw, fields: dict[str, Any]) -> None:
    tier = settings("slstm", **{"heads": 2, **fields})
    module, tokens = perturbed(build(tier)), draw(2, 9)
    ways = module(tokens, torch.full((2,), 9)), by_the_equations(module, tier, tokens)
    ours, theirs = values_and_gradients(module, *ways)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
def test_gates_that_would_leave_float32_leave_it_finite(build: Build, draw: Draw, forget_gate: str) -> None:
    """A factor on every input gate cancels in c / n; that of 1e4 is e^10000."""
    module = perturbed(build(settings("slstm", heads=2, forget_gate=forget_gate))).float()
    tokens, num_tokens, found = draw(2, 300), torch.tensor([300, 200]), []
    for shift in (0.0, 1e4, -2e4):
        with torch.no_grad():
            module.layers[0].bias[..., :4] += shift
            found.append(module(tokens, num_tokens))
    torch.testing.assert_close(found[1:], [found[0]] * 2, rtol=0, atol=0.05)


def test_weights_begin_as_in_the_authors_code(build: Build) -> None:
    module = build(settings("slstm", hidden=128, layers=2))
    for index, exponent in ((0, 0.3), (2, 1.6)):
        cell = module.layers[index]
        i, f, z, o = cell.bias.squeeze(1).split(32, dim=1)
        assert not any(zero.any() for zero in (i, z, o, cell.recurrent))
        for head in f:
            falls = torch.tensor([5 - 12 * (j / 31) ** exponent for j in range(32)])
            torch.testing.assert_close(head.float(), falls)
    cell, perceptron = module.layers[:2]
    small = (2 / (5 * 128)) ** 0.5
    for weight in (cell.from_window.weight, cell.from_token.weight, perceptron.inputs.weight):
        assert weight.std().item() == pytest.approx(small, rel=0.1)
    assert perceptron.output.weight.std().item() == pytest.approx(2 / 2 / 128**0.5, rel=0.1)


def test_both_forget_gates_begin_at_the_same_values(build: Build) -> None:
    sigmoid, exp = (build(settings("slstm", forget_gate=kind)).layers[0].bias for kind in ("sigmoid", "exp"))
    torch.testing.assert_close(exp[..., 2:4].exp(), sigmoid[..., 2:4].sigmoid(), rtol=1e-5, atol=1e-7)


def test_heads_must_share_the_width_and_be_wider_than_one() -> None:
    assert tier_class("slstm")(hidden=6, heads=3).problems() == {}
    for heads in (4, 6):
        wrong = tier_class("slstm")(hidden=6, heads=heads)
        assert wrong.problems() == {"heads": "a divisor of hidden (6), and smaller"}
