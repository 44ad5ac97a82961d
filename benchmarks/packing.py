"""Steps of many models of one shape in one program: member steps a second for stacks of several sizes.

    python benchmarks/packing.py [--hidden 64] [--m 5] [--sizes 1 4 16 64] [--tier full lstm] [--json packing.json]

A step is forward, loss, backward and Adam, with one thread, on 64 sequences of 2 to 10 tokens for each member. "alone"
calls the module itself, without a stack. The sizes take turns. Prints member steps a second, at the shortest times,
and the ratio of the largest stack that was measured to a stack of one.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from bilin.fields import fields_of
from bilin.models import MODELS, Tier, tier_settings
from bilin.tasks.modular_addition import ModularAddition

FIELDS: dict[str, dict[str, Any]] = {"cp": {"rank": 64}, "block_diagonal": {"block_size": 2}}
Step = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=64, help="width of state and embedding")
    parser.add_argument("--m", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--tier", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each tier and size")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"hidden {options.hidden}, m {options.m}, member steps a second, {platform.processor() or platform.machine()}\n"
    )
    print("| tier | alone |" + "".join(f" {size} |" for size in options.sizes) + " best / 1 |")
    print("|---|--:|" + "--:|" * (len(options.sizes) + 1))
    results = {}
    for name in options.tier:
        results[name] = rates = measure(settings(name, options.hidden), options.m, options.sizes, options.seconds)
        stacked = list(rates.values())[1:]
        cells = "".join(f" {rate:.0f} |" for rate in rates.values())
        print(f"| {name} |{cells} {max(stacked) / stacked[0]:.2f} |", flush=True)
    if options.json:
        options.json.write_text(
            json.dumps({**vars(options), "json": None, "torch": torch.__version__, "rates": results})
        )


def settings(name: str, hidden: int) -> Tier:
    """Return the settings of a tier in which everything that can be of the width is."""
    kind = tier_settings(name)
    width = {"hidden": hidden} | ({"embedding": hidden} if "embedding" in fields_of(kind) else {})
    return kind(**width, **FIELDS.get(name, {}))


def measure(tier: Tier, m: int, sizes: list[int], seconds: float) -> dict[str, float]:
    """Return member steps a second for a module alone, and for stacks of each size."""
    steps: dict[str, tuple[int, Step]] = {"alone": (1, alone(tier, m))}
    steps |= {str(size): (size, stacked(tier, m, size)) for size in sizes}
    shortest = dict.fromkeys(steps, float("inf"))
    for _, step in steps.values():
        step()
    started = time.perf_counter()
    while time.perf_counter() - started < seconds * len(steps):
        for name, (_, step) in steps.items():
            before = time.perf_counter()
            step()
            shortest[name] = min(shortest[name], time.perf_counter() - before)
    return {name: size / shortest[name] for name, (size, _) in steps.items()}


def draw(m: int, size: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    batches = [
        ModularAddition(m=m).sample(torch.randint(2, 11, (64,), generator=generator).clamp_(max=10), generator)
        for _ in range(size)
    ]
    longest = max(batch.tokens.shape[1] for batch in batches)
    tokens = [nn.functional.pad(batch.tokens, (0, longest - batch.tokens.shape[1])) for batch in batches]
    return torch.stack(tokens), torch.stack([b.num_tokens for b in batches]), torch.stack([b.answers for b in batches])


def build(tier: Tier, m: int) -> Any:
    module = tier.build(vocab_size=m, num_classes=m)
    module.normalize = "readout"
    return module


def alone(tier: Tier, m: int) -> Step:
    module, (tokens, num_tokens, answers) = build(tier, m), draw(m, 1)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(tokens[0], num_tokens[0]), answers[0]).backward()
        optimizer.step()

    return step


def stacked(tier: Tier, m: int, size: int) -> Step:
    module, batch = build(tier, m), draw(m, size)
    weights, buffers = stack_module_state([copy.deepcopy(module) for _ in range(size)])
    optimizer = torch.optim.Adam(weights.values(), lr=1e-5, fused=True)

    def loss(weights: Any, buffers: Any, tokens: Any, num_tokens: Any, answers: Any) -> Any:
        logits = functional_call(module, (weights, buffers), (tokens, num_tokens))
        return nn.functional.cross_entropy(logits, answers)

    losses = vmap(loss)

    def step() -> None:
        optimizer.zero_grad()
        losses(weights, buffers, *batch).sum().backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
