"""Rotation bilinear (R₂): H/2 planes, each rotated by an angle that depends on the token.

    h_t = A_x h_{t-1},    A_x = blockdiag(R(θ_x¹), …, R(θ_xᴴᐟ²)),    θ_x = W x

    R(θ) = [cos θ, -sin θ; sin θ, cos θ]
    W  (H/2, D)    (H/2)·D weights

Plane j consists of the coordinates j and H/2 + j. The matrices commute, R(θ_x) R(θ_y) = R(θ_x + θ_y), so the state
depends only on how often each token occurs. The tier can track Abelian groups and nothing else [1].

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749. The paper does not say how the angle depends on the token. That it is linear in the
        embedding, and initial angles spread over the whole circle, are our choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bilin.models.bilinear.bilinear import (
    Commuting,
    Embedding,
    Embeddings,
    Exponents,
    Matrix,
    State,
    States,
    Transition,
    Weight,
    Weights,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation(Commuting):
    """h_t = R(W x) h_{t-1} in each plane."""

    tier: ClassVar[str] = "rotation"

    def problems(self) -> Mapping[str, str]:
        """See `Tier.problems`. A rotation acts on two coordinates."""
        problems = dict(Commuting.problems(self))
        if self.hidden % 2:
            problems["hidden"] = "an even number"
        return problems

    @property
    def weights(self) -> Mapping[str, Weight]:
        """W. The initial angles have standard deviation π, which is close to uniform on the circle."""
        return {
            "W": Weight((self.hidden // 2, self.embedding), std=self.init_scale * math.pi * self.squared_length**-0.5)
        }

    def matrix(self, weights: Weights, x: Embedding) -> Matrix:
        """Return the rotations of all planes as one matrix."""
        angles = weights["W"] @ x
        matrix = x.new_zeros(2, self.hidden // 2, 2, self.hidden // 2)
        for i, k, values in ((0, 0, angles.cos()), (0, 1, -angles.sin()), (1, 0, angles.sin()), (1, 1, angles.cos())):
            matrix[i, :, k].diagonal().copy_(values)
        return matrix.view(self.hidden, self.hidden)

    def logarithm(self, weights: Weights, embeddings: Embeddings) -> Exponents:
        """Return the angles."""
        from bilin.models.layers import linear

        return linear(embeddings, weights["W"])

    def apply(self, exponents: Exponents, state: State, *, any_scale: bool) -> States:  # noqa: ARG002 (size is kept)
        """Rotate the state by the sums of the angles."""
        return _rotate(exponents.cos(), exponents.sin(), state)

    def transition(self, weights: Weights, embeddings: Embeddings) -> Transition:
        """Return the rotation of each plane by the angle of the token."""
        from bilin.models.layers import linear_of_members

        angles = linear_of_members(embeddings, weights["W"])
        cos, sin = angles.cos(), angles.sin()
        return lambda rows, states: _rotate(rows.take(cos), rows.take(sin), states)


def _rotate(cos: Exponents, sin: Exponents, states: States) -> States:
    x, y = states.unflatten(-1, (2, -1)).unbind(-2)
    rotated = cos.new_empty(*cos.shape[:-1], 2, cos.shape[-1])
    rotated[..., 0, :] = cos * x - sin * y
    rotated[..., 1, :] = sin * x + cos * y
    return rotated.flatten(-2)
