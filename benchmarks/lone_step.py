"""A step of a module by itself, in this checkout and in another one, in turns.

    python -m benchmarks.lone_step ../before [--hidden 64] [--tier full lstm] [--rounds 5]

A step is forward, loss, backward and fused Adam with one thread, on 64 sequences of 2 to 10 tokens of modular addition
with m = 5. Each checkout runs in processes of its own, with the Python that runs this. Prints the shortest times in
milliseconds of processor time, and their ratio.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.tasks.modular_addition import ModularAddition

HERE = Path(__file__).resolve().parents[1]
FIELDS: dict[str, dict[str, Any]] = {"cp": {"rank": 64}, "block_diagonal": {"block_size": 2}}
M, SLICES, STEPS = 5, 20, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, nargs="?", help="the other one; without it, measure this one once")
    parser.add_argument("--hidden", type=int, default=64, help="width of state and embedding")
    parser.add_argument("--tier", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.checkout is None:
        for tier in options.tier:
            print(tier, measure(tier, options.hidden))
        return
    print(f"hidden {options.hidden}, m {M}, milliseconds of processor time a step\n")
    print("| tier | other | this | this / other |")
    print("|---|--:|--:|--:|")
    for tier in options.tier:
        other, this = [], []
        for _ in range(options.rounds):
            other.append(elsewhere(options.checkout, tier, options.hidden))
            this.append(elsewhere(HERE, tier, options.hidden))
        print(f"| {tier} | {min(other):.2f} | {min(this):.2f} | {min(this) / min(other):.2f} |", flush=True)


def elsewhere(checkout: Path, tier: str, hidden: int) -> float:
    """Return the milliseconds of a step in a checkout."""
    command = [sys.executable, str(Path(__file__).resolve()), "--hidden", str(hidden), "--tier", tier]
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(ended.stdout.split()[1])


def measure(name: str, hidden: int) -> float:
    """Return the milliseconds of a step, the shortest of some slices."""
    kind = tier_settings(name)
    width = {"hidden": hidden} | ({"embedding": hidden} if "embedding" in fields_of(kind) else {})
    torch.manual_seed(0)
    module = kind(**width, **FIELDS.get(name, {})).build(vocab_size=M, num_classes=M)
    module.normalize = "readout"
    generator = torch.Generator().manual_seed(0)
    batch = ModularAddition(m=M).sample(torch.randint(2, 11, (64,), generator=generator), generator)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-5, fused=True)
    shortest = float("inf")
    for _ in range(SLICES):
        before = time.process_time()
        for _ in range(STEPS):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(batch.tokens, batch.num_tokens), batch.answers).backward()
            optimizer.step()
        shortest = min(shortest, (time.process_time() - before) / STEPS)
    return 1000 * shortest


if __name__ == "__main__":
    main()
