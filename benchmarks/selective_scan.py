"""The recurrences of the selective state spaces, computed with several methods side by side.

    python -m benchmarks.selective_scan [--hidden 64] [--rounds 20]

For `mamba` (channels: twice `--hidden`; 16 states for each):

- loop: h_t = a_t h_{t-1} + b_t over all a and b, computed in advance, with autograd;
- steps: a and b computed in the loop, with autograd;
- doubling: an associative scan of log2(length) passes, with autograd;
- bilin: what a trial runs, the loop of *steps* with a handwritten gradient.

For `mamba2` (8 heads, 64 states for each channel): the loop of *steps*, and the chunks that a trial runs.

Only the recurrence is measured, with one thread: values and gradients for 64 sequences of 10 tokens, and values for
16 sequences of 800 tokens, printed as seconds for 512 sequences. The methods take turns. The shortest processor times
are printed, because other work affects them less than wall time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bilin.models.state_space.modules import scan_in_chunks, selective_scan

Way = Callable[..., Tensor]
HEADS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    mamba = {"loop": loop, "steps": steps, "doubling": doubling, "bilin": scan}
    mamba2 = {"steps": steps_of_heads, "bilin": chunks}
    print(f"hidden {options.hidden}\n\n| tier | method | training, ms | 512 x 800, s |\n|---|---|--:|--:|")
    for tier, ways, draw in (("mamba", mamba, draw_mamba), ("mamba2", mamba2, draw_mamba2)):
        inner = 2 * options.hidden
        training = shortest(ways, draw(64, 10, inner), options.rounds, train)
        evaluating = shortest(ways, draw(16, 800, inner), max(1, options.rounds // 10), evaluate)
        for name in ways:
            print(f"| {tier} | {name} | {1e3 * training[name]:.1f} | {512 / 16 * evaluating[name]:.2f} |", flush=True)


def shortest(
    ways: Mapping[str, Way], inputs: list[Tensor], rounds: int, run: Callable[[Way, list[Tensor]], None]
) -> dict[str, float]:
    """Return the seconds of each method; they take turns."""
    found = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            run(way, inputs)
            found[name] = min(found[name], time.process_time() - start)
    return found


def train(way: Way, inputs: list[Tensor]) -> None:
    y = way(*inputs)
    torch.autograd.grad(y, inputs, torch.ones_like(y))


@torch.no_grad()
def evaluate(way: Way, inputs: list[Tensor]) -> None:
    way(*inputs)


def draw_mamba(batch: int, length: int, inner: int) -> list[Tensor]:
    """Draw the inputs x, Δ, A, B and C."""
    shapes = [(batch, length, inner), (batch, length, inner), (16, inner), (batch, length, 16), (batch, length, 16)]
    w, delta, A, B, C = (torch.randn(shape) for shape in shapes)
    return [value.requires_grad_() for value in (w, (delta - 4).exp(), -(A - 1).exp(), B, C)]


def draw_mamba2(batch: int, length: int, inner: int) -> list[Tensor]:
    """Draw the inputs x, a, B and C."""
    w, B, C = torch.randn(batch, length, HEADS, inner // HEADS), *torch.randn(2, batch, length, 64)
    return [value.requires_grad_() for value in (w, torch.rand(batch, length, HEADS), B, C)]


def loop(w: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    a, b = (delta[:, :, None] * A).exp(), B[..., None] * w[:, :, None]
    h, states = torch.zeros_like(a[:, 0]), []
    for a_t, b_t in zip(a.unbind(1), b.unbind(1), strict=True):
        h = a_t * h + b_t
        states.append(h)
    return (C[:, :, None] @ torch.stack(states, 1)).squeeze(2)


def steps(w: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    h, y = w.new_zeros(len(w), *A.shape), []
    for w_t, delta_t, B_t, C_t in zip(*(value.unbind(1) for value in (w, delta, B, C)), strict=True):
        h = (delta_t[:, None] * A).exp() * h + B_t[..., None] * w_t[:, None]
        y.append((C_t[:, None] @ h).squeeze(1))
    return torch.stack(y, 1)


def doubling(w: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    a, b = (delta[:, :, None] * A).exp(), B[..., None] * w[:, :, None]
    reach = 1
    while reach < w.shape[1]:
        b = torch.cat([b[:, :reach], a[:, reach:] * b[:, :-reach] + b[:, reach:]], 1)
        a = torch.cat([a[:, :reach], a[:, reach:] * a[:, :-reach]], 1)
        reach *= 2
    return (C[:, :, None] @ b).squeeze(2)


def scan(w: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    return selective_scan(w, delta, A, B, C, None, signed=False)[0]


def steps_of_heads(w: Tensor, a: Tensor, B: Tensor, C: Tensor) -> Tensor:
    h, y = w.new_zeros(len(w), B.shape[2], w[0, 0].numel()), []
    wide = a.repeat_interleave(w.shape[3], dim=2)
    for w_t, a_t, B_t, C_t in zip(*(value.unbind(1) for value in (w.flatten(2), wide, B, C)), strict=True):
        h = a_t[:, None] * h + B_t[..., None] * w_t[:, None]
        y.append((C_t[:, None] @ h).squeeze(1))
    return torch.stack(y, 1).view_as(w)


def chunks(w: Tensor, a: Tensor, B: Tensor, C: Tensor) -> Tensor:
    return scan_in_chunks(w, a, B, C, None)[0]


if __name__ == "__main__":
    main()
