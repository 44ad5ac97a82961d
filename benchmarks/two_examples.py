"""How often a frozen random real diagonal, with a readout trained on two sequences, computes parity at any length.

    python -m benchmarks.two_examples [--seeds 400]

Ebrahimi, Memisevic (2025, arXiv 2505.21749, proposition 3) claim a probability of 1 - 2^-H. They do not say how the
tokens are encoded. The table has each plausible encoding, with factors of any size and with only their signs:

    independent   a(0) and a(1) drawn from N(0, 1): what the tier draws, up to a common scale
    identity      a(0) = 1, a(1) drawn from N(0, 1): the token 0 leaves the state unchanged
    opposite      a(1) drawn from N(0, 1), a(0) = -a(1): the tokens are the numbers 1 and -1

and each pair of examples: two random sequences of 2 to 10 tokens, one of each parity, or the sequences 1 and 11,
which differ only in the number of ones. The state starts at ones and is divided by its norm. The readout, two logits
from zero weights, is trained with Adam until the loss is below 1e-3, for at most 3,000 steps. A seed succeeds if it
answers 64 sequences each of 2, 9, 10, 99, 100, 499 and 500 tokens correctly. Even lengths alone would not do: there,
the parity of the zeros is also right.

The module is bilin's own real diagonal tier with a frozen recurrence. All seeds are computed together.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from bilin.models.bilinear.real_diagonal import RealDiagonal
from bilin.tasks import Batch
from bilin.tasks.modular_addition import ModularAddition

WIDTHS = (1, 2, 4, 8, 16, 32)
CODINGS = ("independent", "identity", "opposite")
LENGTHS = (2, 9, 10, 99, 100, 499, 500)
PARITY = ModularAddition(m=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| encoding | factors | examples | {' | '.join(f'H = {H}' for H in WIDTHS)} |")
    print("|---|---|---|" + "--:|" * len(WIDTHS))
    print(f"| claimed | | | {' | '.join(f'{1 - 2.0**-H:.3f}' for H in WIDTHS)} |")
    for coding in CODINGS:
        for factors in ("signs", "any size"):
            for examples in ("1 and 11", "random"):
                rates = [success(coding, factors, examples, H, options.seeds) for H in WIDTHS]
                print(f"| {coding} | {factors} | {examples} | {' | '.join(f'{rate:.3f}' for rate in rates)} |")


def success(coding: str, factors: str, examples: str, width: int, num_seeds: int) -> float:
    """Return the share of seeds that answer every tested sequence correctly."""
    generator = torch.Generator().manual_seed(width)
    models = [frozen(draw_factors(coding, factors, width, generator)) for _ in range(num_seeds)]
    batches = [two_examples(examples, generator) for _ in models]
    states = torch.stack([features(model, batch) for model, batch in zip(models, batches, strict=True)])
    answers = torch.stack([batch.answers for batch in batches])
    readouts = train(states, answers)
    tested = PARITY.sample(torch.tensor(LENGTHS).repeat(64), generator)
    predicted = [
        (features(model, tested) @ readout.T).argmax(1) for model, readout in zip(models, readouts, strict=True)
    ]
    return sum(torch.equal(answers, tested.answers) for answers in predicted) / num_seeds


def draw_factors(coding: str, factors: str, width: int, generator: torch.Generator) -> Tensor:
    """Draw a(0) and a(1), (width, 2)."""
    drawn = torch.randn(width, 2, generator=generator)
    if coding == "identity":
        drawn[:, 0] = 1
    if coding == "opposite":
        drawn[:, 0] = -drawn[:, 1]
    return drawn.sign() if factors == "signs" else drawn


def frozen(factors: Tensor) -> torch.nn.Module:
    """Return the tier's module in evaluation mode with these factors, as a one-hot embedding of the two tokens."""
    module = RealDiagonal(hidden=len(factors), embedding=2, freeze="recurrent").build(vocab_size=2, num_classes=2)
    with torch.no_grad():
        module.embedding.copy_(torch.eye(2))
        module.weights["W"].copy_(factors)
        module.initial.fill_(1)
    module.readout = torch.nn.Identity()
    return module.eval()


@torch.no_grad()
def features(model: torch.nn.Module, batch: Batch) -> Tensor:
    """Return what the readout sees after each sequence, (sequences, width)."""
    return model(batch.tokens, batch.num_tokens)


def two_examples(kind: str, generator: torch.Generator) -> Batch:
    """Draw one sequence of each parity."""
    if kind == "1 and 11":
        return Batch.cut(torch.tensor([[1, 1], [1, 1]]), torch.tensor([[1, 0], [1, 0]]), torch.tensor([1, 2]))
    while True:
        batch = PARITY.sample(torch.randint(2, 11, (2,), generator=generator), generator)
        if batch.answers.sum() == 1:
            return batch


def train(states: Tensor, answers: Tensor) -> Tensor:
    """Train a readout for each seed, (seeds, 2, width), on its two states, (seeds, 2, width)."""
    readouts = torch.zeros(len(states), 2, states.shape[2], requires_grad=True)
    optimizer = torch.optim.Adam([readouts], lr=0.03)
    for _ in range(3000):
        logits = torch.einsum("sew,scw->sec", states, readouts)
        losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), reduction="none")
        if losses.max() < 1e-3:
            break
        optimizer.zero_grad()
        losses.sum().backward()
        optimizer.step()
    return readouts.detach()


if __name__ == "__main__":
    main()
