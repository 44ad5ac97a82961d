"""Weights that simulate a given finite state machine exactly: a solution that training could find.

    W_ijx = 1 where input x leads from state j to state i, else 0
    x one-hot, h_0 one-hot at the initial state, hence h_t one-hot at the state of the machine

A full bilinear tier can hold a machine with at most H states, a block-diagonal one with at most b states. All blocks
then hold the same machine.

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749, proposition 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch

from bilin.models.bilinear.block_diagonal import BlockDiagonal
from bilin.models.bilinear.full import Full
from bilin.models.bilinear.recurrence import Recurrence

Machine: TypeAlias = Sequence[Sequence[int]]
"""The next state, by input and by state."""


def construct(tier: Full | BlockDiagonal, machine: Machine, *, start: int = 0) -> Recurrence:
    """Return a module of the tier whose prediction after each token is the state of the machine.

    Tokens are the inputs of the machine, classes its states. It begins in state ``start``.

    Raises:
        ValueError: The tier is too small for the machine, or has additive terms, or ``start`` is not a state.
    """
    num_inputs, num_states = len(machine), len(machine[0])
    width, name = (tier.hidden, "hidden") if isinstance(tier, Full) else (tier.block_size, "block_size")
    if not 0 <= start < num_states:
        raise ValueError(f"start is {start}; accepted: a state, from 0 to {num_states - 1}")
    if num_states > width:
        raise ValueError(f"the machine has {num_states} states, {name} is {width}; accepted: at least {num_states}")
    if num_inputs > tier.embedding:
        raise ValueError(
            f"the machine has {num_inputs} inputs, embedding is {tier.embedding}; accepted: at least {num_inputs}"
        )
    if tier.additive:
        raise ValueError("the tier has additive terms; accepted: additive: false")
    module = Recurrence(tier, vocab_size=num_inputs, num_classes=num_states)
    blocks = tier.hidden // width
    with torch.no_grad():
        module.embedding.copy_(torch.eye(num_inputs, tier.embedding))
        module.initial.view(width, blocks).zero_()[start] = 1
        W = module.weights["W"].view(width, width, blocks, tier.embedding).zero_()
        for token, next_state in enumerate(machine):
            W[next_state, range(num_states), :, token] = 1
        readout = module.readout.weight.view(num_states, width, blocks).zero_()
        readout[range(num_states), range(num_states)] = 1
    return module
