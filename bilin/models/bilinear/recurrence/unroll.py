"""The recurrence over time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from bilin.models.bilinear.bilinear import Transition
from bilin.models.bilinear.recurrence.rows import Packed


def unroll(
    transition: Transition,
    packed: Packed,
    initial: Float[Tensor, " hidden"] | Float[Tensor, "batch hidden"],
    *,
    added: Float[Tensor, "vocab hidden"] | None = None,
    rescale: bool = False,
) -> Iterator[Tensor]:
    """The states at each time, of the sequences that have a token then.

    What ``added`` has for the token is added to A_x h. With ``rescale`` the state is divided by its norm after
    each step. The norm counts as a constant: where the loss does not depend on the state's scale, the gradient is
    the same with it.
    """
    states = initial.expand(packed.sizes[0], -1)  # one for all, or one each in the order of the layout
    for rows in packed.steps:
        states = transition(rows, states[: len(rows.tokens)])
        if added is not None:
            states = states + added.index_select(0, rows.tokens)
        if rescale:
            states = states / norm(states.detach())
        yield states


def norm(states: Float[Tensor, "*rows hidden"]) -> Float[Tensor, "*rows 1"]:
    """The Euclidean norm of each state, never 0."""
    size: Tensor = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    return size.clamp_min(torch.finfo(states.dtype).tiny)
