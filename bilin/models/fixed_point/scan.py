"""The diagonal linear recurrence, each number of the state by itself."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def scan(
    decay: Float[Tensor, "batch time *width"],
    inputs: Float[Tensor, "batch time *width"],
    initial: Float[Tensor, " batch *width"],
) -> Float[Tensor, "batch time *width"]:
    """h_t = λ_t ∘ h_{t-1} + u_t for decays λ and inputs u: the states after each time.

    A loop over time: on CPUs a scan that doubles its reach moves so much more memory that it is slower for any
    batch of more than one sequence.
    """
    state, states = initial, []
    for kept, added in zip(decay.unbind(1), inputs.unbind(1), strict=True):
        state = torch.addcmul(added, kept, state)
        states.append(state)
    return torch.stack(states, 1)
