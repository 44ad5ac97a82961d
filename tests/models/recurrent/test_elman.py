"""The Elman network against its formula, one sequence, one time and one layer after the other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.models.variants import Build, Draw, settings


def by_the_formula(module: Any, tokens: Any, layers: int) -> Any:
    rows = []
    for row in tokens:
        states = [torch.zeros(8, dtype=torch.float64) for _ in range(layers)]
        for token in row:
            x = module.embedding[token]
            for layer in range(layers):
                W, U, b, c = (
                    getattr(module.recurrence, f"{name}_l{layer}")
                    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                )
                x = states[layer] = torch.tanh(W @ x + b + U @ states[layer] + c)
        rows.append(module.readout.weight @ x)
    return torch.stack(rows)


@pytest.mark.parametrize("layers", [1, 2])
def test_it_is_its_formula(build: Build, draw: Draw, layers: int) -> None:
    module, tokens = build(settings("elman", layers=layers)), draw(3, 9)
    ways = module(tokens, torch.full((3,), 9)), by_the_formula(module, tokens, layers)
    ours, theirs = ([way, *torch.autograd.grad(way.exp().sum(), list(module.parameters()))] for way in ways)
    torch.testing.assert_close(ours, theirs)


def test_the_initial_recurrent_weights_are_scaled(build: Build) -> None:
    plain, scaled = (dict(build(settings("elman", init_scale=scale)).named_parameters()) for scale in (1.0, 4.0))
    assert all(torch.equal(scaled[name], 4 * plain[name]) for name in plain if name.startswith("recurrence"))
    assert torch.equal(scaled["embedding"], plain["embedding"])
