"""One training step of each bilinear tier, with three methods side by side.

    python benchmarks/training_step.py [--hidden 64] [--tier full] [--m 2 5 50] [--rounds 5]

- definition: the matrix A_x is computed for every sequence at every time, then multiplied;
- gather: A_x is computed in full once in each step for every token, and copied for every sequence at every time;
- bilin: what a trial runs.

Each is a whole step with one thread: forward, loss, backward and fused Adam, on the same 64 sequences of 2 to 10
tokens. The three take turns. Prints the shortest times, and their ratios to the last.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bilin.models import tier_settings
from bilin.models.bilinear.bilinear import Bilinear
from bilin.models.bilinear.recurrence import Recurrence
from bilin.tasks import Batch
from bilin.tasks.modular_addition import ModularAddition

TIERS: dict[str, tuple[str, dict[str, int]]] = {
    "full": ("full", {}),
    "cp": ("cp", {"rank": 64}),
    "block_diagonal 2": ("block_diagonal", {"block_size": 2}),
    "block_diagonal 8": ("block_diagonal", {"block_size": 8}),
    "rotation": ("rotation", {}),
    "real_diagonal": ("real_diagonal", {}),
    "positive_diagonal": ("positive_diagonal", {}),
}
Forward = Callable[[Recurrence, Batch], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=64, help="width of state and embedding")
    parser.add_argument("--tier", nargs="+", choices=TIERS, default=list(TIERS))
    parser.add_argument("--m", type=int, nargs="+", default=[2, 5, 50])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"hidden {options.hidden}, milliseconds for each step\n")
    print("| tier | m | definition | gather | bilin | definition / bilin | gather / bilin |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for name in options.tier:
        for m in options.m:
            tier, fields = TIERS[name]
            settings = tier_settings(tier)(hidden=options.hidden, embedding=options.hidden, **fields)
            definition, gather, final = measure(settings, m, options.rounds)
            print(
                f"| {name} | {m} | {definition:.2f} | {gather:.2f} | {final:.2f} "
                f"| {definition / final:.1f} | {gather / final:.1f} |",
                flush=True,
            )


def measure(settings: Bilinear, m: int, rounds: int) -> list[float]:
    """Return the shortest step of each method, in milliseconds."""
    steps = [make_step(settings, m, forward) for forward in (definition, gather, bilin)]
    for step in steps:
        step()
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, found in zip(steps, times, strict=True):
            found += [step() for _ in range(3)]
    return [1000 * min(found) for found in times]


def make_step(settings: Bilinear, m: int, forward: Forward) -> Callable[[], float]:
    """Return a function that takes one step, always on the same batch, and returns its seconds."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    batch = ModularAddition(m=m).sample(torch.randint(2, 11, (64,), generator=generator), generator)
    module = settings.build(vocab_size=m, num_classes=m)
    assert isinstance(module, Recurrence)
    module.normalize = "readout"
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-5, fused=True)

    def step() -> float:
        started = time.perf_counter()
        optimizer.zero_grad()
        nn.functional.cross_entropy(forward(module, batch), batch.answers).backward()
        optimizer.step()
        return time.perf_counter() - started

    return step


def definition(module: Recurrence, batch: Batch) -> Tensor:
    matrix = torch.func.vmap(module.tier.matrix, in_dims=(None, 0))
    weights = dict(module.weights.items())
    return loop(module, batch, lambda tokens: matrix(weights, module.embedding[tokens]))


def gather(module: Recurrence, batch: Batch) -> Tensor:
    matrix = torch.func.vmap(module.tier.matrix, in_dims=(None, 0))
    matrices = matrix(dict(module.weights.items()), module.embedding)
    return loop(module, batch, lambda tokens: matrices[tokens])


def bilin(module: Recurrence, batch: Batch) -> Tensor:
    return module(batch.tokens, batch.num_tokens)


def loop(module: Recurrence, batch: Batch, matrices_of: Callable[[Tensor], Tensor]) -> Tensor:
    states = [module.initial.expand(len(batch.tokens), -1)]
    for tokens in batch.tokens.T:
        states.append((matrices_of(tokens) @ states[-1].unsqueeze(2)).squeeze(2))
    last = torch.stack(states)[batch.num_tokens, torch.arange(len(batch.tokens))]
    return module.readout(last / last.norm(dim=1, keepdim=True))


if __name__ == "__main__":
    main()
