"""A training step of every tier: the loop that a user would write, bilin, and the floor of this machine, side by side.

    python -m benchmarks.step_time [--hidden 64 256] [--m 2 5 10 25 50] [--tier full] [--rounds 5] [--json steps.json]

- loop: a loop over time. For bilinear tiers it is written out in loops.py; other tiers advance by one token at a time.
- bilin: the module of the tier.
- floor: the products of matrices that bilin's step computes and the memory that Adam goes through, at the rates of a
  large product and of a large copy on this machine. All else would be free.

Each is a whole step with one thread: forward, loss, backward and fused Adam, on the same 64 sequences of 2 to 10
tokens. The methods take turns. The figures are the shortest processor times in milliseconds, and their ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import loops
from benchmarks.output import Table
from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.models.bilinear.recurrence import Recurrence
from bilin.models.module import SequenceModel
from bilin.tasks import Batch
from bilin.tasks.modular_addition import ModularAddition

FIELDS: dict[str, list[dict[str, Any]]] = {
    "cp": [{"rank": 64}],
    "block_diagonal": [{"block_size": 2}, {"block_size": 8}],
}
TIERS = {
    " ".join(map(str, (name, *fields.values()))): (name, fields) for name in MODELS for fields in FIELDS.get(name, [{}])
}
ADAM_PASSES = 8
"""Writes of the gradient; reads and writes of the weight and its two moments; reads of the gradient."""

Forward = Callable[[Any, Batch], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 256], help="widths of state and embedding")
    parser.add_argument("--tier", nargs="+", choices=TIERS, default=list(TIERS))
    parser.add_argument("--m", type=int, nargs="+", default=[2, 5, 10, 25, 50])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    columns = ("tier", "H", "m", "loop", "bilin", "floor", "loop / bilin", "bilin / floor")
    table = Table(*columns)
    for hidden in options.hidden:
        for name in options.tier:
            for m in options.m:
                loop, ours, floor = measure(name, hidden, m, options.rounds)
                table.add(name, hidden, m, loop, ours, floor, loop / ours, ours / floor)
    table.write(options.json)


def measure(name: str, hidden: int, m: int, rounds: int) -> tuple[float, float, float]:
    """Return the shortest step of the loop and of bilin, and the floor, in milliseconds."""
    tier, fields = TIERS[name]
    kind = tier_settings(tier)
    width = {"hidden": hidden} | ({"embedding": hidden} if "embedding" in fields_of(kind) else {})
    settings = kind(**width, **fields)
    module = settings.build(vocab_size=m, num_classes=m)
    loop = loops.forward if isinstance(module, Recurrence) else token_by_token
    steps = [make_step(settings, m, forward) for forward in (loop, bilin)]
    times = [[step()] for step in steps]
    for _ in range(rounds):
        for step, of_step in zip(steps, times, strict=True):
            of_step += [step() for _ in range(3)]
    with FlopCounterMode(display=False) as counter:
        steps[1]()
    num_weights = sum(weight.numel() for weight in module.parameters())
    bytes_a_second, flops_a_second = rates()
    seconds = counter.get_total_flops() / flops_a_second + 4 * ADAM_PASSES * num_weights / bytes_a_second
    looped, ours = map(min, times)
    return 1000 * looped, 1000 * ours, 1000 * seconds


@cache
def rates() -> tuple[float, float]:
    """Return the bytes a second of a large copy, read and written, and the operations a second of a large product."""
    big, square = torch.zeros(2**26), torch.zeros(1024, 1024)
    target, product = torch.empty_like(big), torch.empty_like(square)
    copied = min(timed(lambda: target.copy_(big)) for _ in range(5))
    multiplied = min(timed(lambda: torch.mm(square, square, out=product)) for _ in range(5))
    return 2 * 4 * big.numel() / copied, 2 * 1024**3 / multiplied


def timed(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def make_step(settings: Any, m: int, forward: Forward) -> Callable[[], float]:
    """Return a function that takes one step, always on the same batch, and returns its seconds."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    batch = ModularAddition(m=m).sample(torch.randint(2, 11, (64,), generator=generator), generator)
    module = settings.build(vocab_size=m, num_classes=m)
    module.normalize = "readout"
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-5, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(forward(module, batch), batch.answers).backward()
        optimizer.step()

    return lambda: timed(step)


def token_by_token(module: SequenceModel, batch: Batch) -> Tensor:
    features, state = [], None
    for tokens in batch.tokens.split(1, dim=1):
        feature, state = module.advance(tokens, state)
        features.append(feature)
    last = torch.cat(features, 1)[torch.arange(len(batch.tokens)), batch.num_tokens - 1]
    logits: Tensor = module.readout(last)
    return logits


def bilin(module: SequenceModel, batch: Batch) -> Tensor:
    logits: Tensor = module(batch.tokens, batch.num_tokens)
    return logits


if __name__ == "__main__":
    main()
