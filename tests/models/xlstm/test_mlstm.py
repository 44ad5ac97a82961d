"""The mLSTM against its equations without stabiliser, one sequence, time and head after the other."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bilin.models.xlstm.modules import write_and_read
from tests.models.formulas import convolved, norm, perturbed, sigmoid, silu, values_and_gradients
from tests.models.variants import Build, Draw, settings, tier_class


def cell_by_the_equations(layer: Any, tier: Any, seen: Any, inner: Any) -> Any:
    """h at all times: C q / max(|n·q|, 1) of each head, normed, side by side."""
    E = len(inner[0])
    P = E // tier.heads
    C = [torch.zeros(P, P, dtype=torch.float64)] * tier.heads
    n = [torch.zeros(P, dtype=torch.float64)] * tier.heads
    shown = []
    for w, u in zip(seen, inner, strict=True):
        q, k, v = (
            [maps.weight[head].T @ x[head * P : head * P + P] for head in range(tier.heads)]
            for maps, x in ((layer.query, w), (layer.key, w), (layer.value, u))
        )
        raw = layer.gates.weight @ torch.cat([*q, *k, *v]) + layer.gates.bias
        heads = []
        for head in range(tier.heads):
            raw_f, i = raw[tier.heads + head], raw[head].exp()
            f = raw_f.exp() if tier.forget_gate == "exp" else sigmoid(raw_f)
            key = k[head] / math.sqrt(P)
            C[head] = f * C[head] + i * torch.outer(v[head], key)
            n[head] = f * n[head] + i * key
            heads.append(norm(C[head] @ q[head] / torch.clamp((n[head] @ q[head]).abs(), min=1)))
        shown.append(torch.cat(heads))
    return shown


def by_the_equations(module: Any, tier: Any, tokens: Any) -> Any:
    rows = []
    for row in tokens:
        xs = [module.embedding[token] for token in row]
        for layer, before in zip(module.layers, module.norms, strict=True):
            both = [layer.inputs.weight @ (norm(x) * before.weight + before.bias) for x in xs]
            inner, gates = zip(*(x.chunk(2) for x in both), strict=True)
            seen = [silu(x) if tier.conv_size else x for x in convolved(layer.window.convolution, inner)]
            for time, h in enumerate(cell_by_the_equations(layer, tier, seen, inner)):
                found = (layer.norm.weight * h + layer.skip * seen[time]) * silu(gates[time])
                xs[time] = xs[time] + layer.output.weight @ found
        rows.append(module.readout.weight @ (norm(xs[-1]) * module.last_norm.weight + module.last_norm.bias))
    return torch.stack(rows)


@pytest.mark.parametrize(
    "fields",
    [{"layers": 2}, {"forget_gate": "exp"}, {"heads": 1, "conv_size": 0}, {"conv_size": 2, "expand": 1}],
    ids=str,
)
def test_it_is_its_equations(build: Build, draw: Draw, fields: dict[str, Any]) -> None:
    tier = settings("mlstm", **{"heads": 2, **fields})
    module, tokens = perturbed(build(tier)), draw(2, 9)
    ways = module(tokens, torch.full((2,), 9)), by_the_equations(module, tier, tokens)
    ours, theirs = values_and_gradients(module, *ways)
    torch.testing.assert_close(ours, theirs)


def drawn(time: int, *, dtype: Any = torch.float64) -> Any:
    """Queries, keys, values and logarithms of gates of two sequences and three heads of width 4."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, time, 4, generator=generator, dtype=dtype) for _ in range(3))
    log_i, raw_f = (torch.randn(2, 3, time, generator=generator, dtype=dtype) for _ in range(2))
    return [x.requires_grad_() for x in (q, k, v, 2 * log_i, torch.nn.functional.logsigmoid(raw_f + 2))]


def by_the_loop(q: Any, k: Any, v: Any, log_i: Any, log_f: Any, C: Any, n: Any, m: Any) -> Any:
    """The recurrence of the paper with its stabiliser, through which gradients go here."""
    shown = []
    for t in range(q.shape[2]):
        after = torch.maximum(log_f[..., t] + m, log_i[..., t])
        f, i, m = (log_f[..., t] + m - after).exp(), (log_i[..., t] - after).exp(), after
        C = f[..., None, None] * C + i[..., None, None] * k[:, :, t, :, None] * v[:, :, t, None, :]
        n = f[..., None] * n + i[..., None] * k[:, :, t]
        norm = torch.maximum((n * q[:, :, t]).sum(-1).abs(), (-m).exp())
        shown.append((C * q[:, :, t, :, None]).sum(-2) / norm[..., None])
    return torch.stack(shown, dim=2), (C, n, m)


@pytest.mark.parametrize("time", [1, 63, 64, 65, 150])
def test_chunks_are_the_loop_and_so_is_the_memory_they_leave(time: int) -> None:
    given: Any = drawn(time)
    memory: Any = [torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4), torch.zeros(2, 3)]
    memory = [x.double().requires_grad_() for x in memory]
    found = []
    for way in (write_and_read(*[*given, tuple(memory)]), by_the_loop(*given, *memory)):
        h, (C, n, m) = way
        true = (C * m.exp()[..., None, None]).sin().sum() + (n * m.exp()[..., None]).sin().sum()
        found.append([*torch.autograd.grad(h.sin().sum() + true, [*given, *memory[:2]], retain_graph=True), h, C, n, m])
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("shift", [1000.0, -1000.0])
def test_gates_that_would_leave_float32_leave_it_finite(shift: Any) -> None:
    """A factor on every input gate: e^1000 cancels where |n·q| is over 1, and e^-1000 leaves nothing."""
    q, k, v, log_i, log_f = given = drawn(300, dtype=torch.float32)
    h, memory = write_and_read(q.abs(), k.abs(), v, log_i + shift, log_f, None)
    assert all(part.isfinite().all() for part in memory)
    assert all(x.isfinite().all() for x in torch.autograd.grad(h.sum(), given, retain_graph=True))
    plain, _ = write_and_read(q.abs(), k.abs(), v, log_i + 20, log_f, None)
    torch.testing.assert_close(h, plain if shift > 0 else torch.zeros_like(h), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("forget_gate", ["sigmoid", "exp"])
def test_weights_begin_as_in_the_authors_code(build: Build, forget_gate: str) -> None:
    (layer,) = build(settings("mlstm", hidden=128, forget_gate=forget_gate)).layers
    for maps in (layer.inputs, layer.query, layer.key, layer.value):
        assert maps.weight.std().item() == pytest.approx((2 / (5 * 128)) ** 0.5, rel=0.1)
    assert layer.output.weight.std().item() == pytest.approx(2 / 128**0.5, rel=0.1)
    assert not layer.gates.weight.any()
    assert layer.gates.bias[:4].abs().max() < 0.5
    started = layer.gates.bias[4:].exp() if forget_gate == "exp" else layer.gates.bias[4:].sigmoid()
    torch.testing.assert_close(started, torch.tensor([3.0, 4.0, 5.0, 6.0]).double().sigmoid(), rtol=1e-5, atol=0)


def test_heads_must_share_the_width_and_be_wider_than_one() -> None:
    assert tier_class("mlstm")(hidden=3, heads=2).problems() == {}
    for fields in ({"heads": 4}, {"heads": 6}):
        wrong = tier_class("mlstm")(hidden=3, **fields)
        assert wrong.problems() == {"heads": "a divisor of hidden times expand (6), and smaller"}
