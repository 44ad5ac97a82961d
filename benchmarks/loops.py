"""The bilinear recurrences as a user would write them: a loop over time, with A_x computed for every sequence.

Each uses its structure: no matrix is larger than the blocks of its tier. Weights and formulas are those of the tiers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from bilin.models.bilinear.recurrence import Recurrence
from bilin.tasks import Batch

Weights = Mapping[str, Tensor]
Step = Callable[[Weights, Tensor, Tensor], Tensor]
"""From weights, the embedding of a token for each sequence (batch, D) and the states (batch, H) to the next states."""


def full(weights: Weights, x: Tensor, h: Tensor) -> Tensor:
    matrices = torch.einsum("ikd,bd->bik", weights["W"], x)
    return (matrices @ h.unsqueeze(2)).squeeze(2)


def cp(weights: Weights, x: Tensor, h: Tensor) -> Tensor:
    return ((h @ weights["Q"]) * (x @ weights["S"])) @ weights["P"].T


def block_diagonal(weights: Weights, x: Tensor, h: Tensor) -> Tensor:
    blocks = torch.einsum("ikjd,bd->bjik", weights["W"], x)
    states = h.unflatten(1, (blocks.shape[2], -1)).transpose(1, 2)
    return (blocks @ states.unsqueeze(3)).squeeze(3).transpose(1, 2).flatten(1)


def rotation(weights: Weights, x: Tensor, h: Tensor) -> Tensor:
    angles, (a, b) = x @ weights["W"].T, h.chunk(2, dim=1)
    return torch.cat([angles.cos() * a - angles.sin() * b, angles.sin() * a + angles.cos() * b], dim=1)


def real_diagonal(weights: Weights, x: Tensor, h: Tensor) -> Tensor:
    return x @ weights["W"].T * h


def positive_diagonal(weights: Weights, x: Tensor, h: Tensor) -> Tensor:
    return torch.sigmoid(x @ weights["W"].T) * h


STEPS: dict[str, Step] = {
    "full": full,
    "cp": cp,
    "block_diagonal": block_diagonal,
    "rotation": rotation,
    "real_diagonal": real_diagonal,
    "positive_diagonal": positive_diagonal,
}


def forward(module: Recurrence, batch: Batch) -> Tensor:
    """Return the logits after the last token of each sequence. In evaluation, states are normalized at each step."""
    step, weights = STEPS[module.tier.tier], dict(module.weights.items())
    states = [module.initial.expand(len(batch.tokens), -1)]
    for tokens in batch.tokens.T:
        state = step(weights, module.embedding[tokens], states[-1])
        states.append(state if module.training else state / state.norm(dim=1, keepdim=True))
    last = torch.stack(states)[batch.num_tokens, torch.arange(len(batch.tokens))]
    logits: Tensor = module.readout(last / last.norm(dim=1, keepdim=True))
    return logits
