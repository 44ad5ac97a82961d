"""Weights that simulate a given finite state machine exactly: what training must find, written down.

    W_ijx = 1 where input x leads from state j to state i, else 0
    x one-hot, h_0 one-hot at the initial state, hence h_t one-hot at the machine's state

A full bilinear tier holds a machine of at most H states, a block-diagonal one of at most b states in each of its
blocks; all blocks are given the same machine.

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
from bilin.models.bilinear.recurrence.recurrence import Recurrence

Machine: TypeAlias = Sequence[Sequence[int]]
"""The next state, by input and by state."""


def construct(tier: Full | BlockDiagonal, machine: Machine, *, start: int = 0) -> Recurrence:
    """A module of the tier whose prediction after each token is the machine's state.

    Tokens are the machine's inputs, classes its states.

    Args:
        tier: Settings of the module, with room for the machine.
        machine: The next state, by input and by state.
        start: The state before the first input.

    Raises:
        ValueError: The tier is too narrow for the machine, or not purely bilinear, or no state is the first.
    """
    num_inputs, num_states = len(machine), len(machine[0])
    if not 0 <= start < num_states:
        raise ValueError(f"start is {start}; accepted: a state, from 0 to {num_states - 1}")
    room = tier.hidden if isinstance(tier, Full) else tier.block_size
    _check(tier, room=room, num_states=num_states, num_inputs=num_inputs)
    module = Recurrence(tier, vocab_size=num_inputs, num_classes=num_states)
    blocks = tier.hidden // room
    with torch.no_grad():
        module.embedding.copy_(torch.eye(num_inputs, tier.embedding))
        module.initial.view(room, blocks).zero_()[start] = 1
        W = module.weights["W"].view(room, room, blocks, tier.embedding).zero_()
        for token, next_state in enumerate(machine):
            W[next_state, range(num_states), :, token] = 1
        readout = module.readout.weight.view(num_states, room, blocks).zero_()
        readout[range(num_states), range(num_states)] = 1
    return module


def _check(tier: Full | BlockDiagonal, *, room: int, num_states: int, num_inputs: int) -> None:
    if num_states > room:
        width = "hidden" if isinstance(tier, Full) else "block_size"
        raise ValueError(f"the machine has {num_states} states, {width} is {room}; accepted: at least {num_states}")
    if num_inputs > tier.embedding:
        raise ValueError(
            f"the machine has {num_inputs} inputs, embedding is {tier.embedding}; accepted: at least {num_inputs}"
        )
    if tier.additive:
        raise ValueError("the tier has additive terms; accepted: additive: false")
