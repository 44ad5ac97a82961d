"""The recurrence as its definition has it: one explicit matrix a token, a loop over sequences and time.

The twin of `bilin.models.bilinear.recurrence.recurrence`, with its parameters and its signature. Tests compare the
two in values and gradients; benchmarks take it as the base.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bilin.models.bilinear.recurrence.recurrence import Recurrence


def naive_forward(
    module: Recurrence,
    tokens: Int[Tensor, "batch time"],
    num_tokens: Int[Tensor, " batch"],
    *,
    every_token: bool = False,
) -> Float[Tensor, "batch *time classes"]:
    """See `bilin.models.module.SequenceModel.forward`."""
    rows = [_logits(module, row[:num]) for row, num in zip(tokens, num_tokens.tolist(), strict=True)]
    if not every_token:
        return torch.stack([logits[-1] for logits in rows])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def _logits(module: Recurrence, tokens: Int[Tensor, " time"]) -> Float[Tensor, "time classes"]:
    tier, weights = module.tier, dict(module.weights.items())
    normalize = module.normalize if module.training else "state"
    state: Tensor = module.initial
    logits = []
    for token in tokens:
        x = module.embedding[token]
        state = module.transitions.matrix(weights, module.codes[token]) @ state
        if tier.additive:
            state = state + module.additive_input @ x + module.additive_bias
        elif normalize == "state":
            state = state / state.norm().detach()
        read = state if tier.additive or normalize == "none" else state / state.norm()
        logits.append(module.readout(read))
    return torch.stack(logits)
