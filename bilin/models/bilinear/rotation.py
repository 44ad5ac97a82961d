"""Rotation bilinear (R₂): H/2 planes, each turned by an angle that depends on the token.

    h_t = A_x h_{t-1},    A_x = blockdiag(R(θ_x¹), …, R(θ_xᴴᐟ²)),    θ_x = W x

    R(θ) = [cos θ, -sin θ; sin θ, cos θ]
    W  (H/2, D)    (H/2)·D weights

Plane j consists of the coordinates j and H/2 + j. The matrices commute, so that the state depends on how
often each token occurs alone: R(θ_x) R(θ_y) = R(θ_x + θ_y). Abelian groups are all that it can track [1].

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749. How the angle depends on the token is not stated there: linear in the embedding, and
        its initial values, spread over the whole circle, are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.models.bilinear.bilinear import Commuting, Weight

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from bilin.models.bilinear.bilinear import Transition, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation(Commuting):
    """h_t = R(W x) h_{t-1}, plane by plane."""

    tier: ClassVar[str] = "rotation"

    def problems(self) -> Mapping[str, str]:
        """A rotation turns two coordinates."""
        problems = dict(Commuting.problems(self))
        if self.hidden % 2:
            problems["hidden"] = "an even number"
        return problems

    @property
    def weights(self) -> Mapping[str, Weight]:
        """W; the initial angles have standard deviation π, which is close to uniform on the circle."""
        return {"W": Weight((self.hidden // 2, self.embedding), std=self.init_scale * math.pi * self.embedding**-0.5)}

    def matrix(self, weights: Weights, x: Float[Tensor, " embedding"]) -> Float[Tensor, "hidden hidden"]:
        """The rotations in their places."""
        angles = weights["W"] @ x
        matrix = x.new_zeros(2, self.hidden // 2, 2, self.hidden // 2)
        for i, k, values in ((0, 0, angles.cos()), (0, 1, -angles.sin()), (1, 0, angles.sin()), (1, 1, angles.cos())):
            matrix[i, :, k].diagonal().copy_(values)
        return matrix.view(self.hidden, self.hidden)

    def logarithm(
        self, weights: Weights, embeddings: Float[Tensor, "vocab embedding"]
    ) -> Float[Tensor, "vocab exponents"]:
        """The angles."""
        return embeddings @ weights["W"].T

    def apply(
        self,
        exponents: Float[Tensor, "*rows exponents"],
        state: Float[Tensor, " hidden"],
        *,
        any_scale: bool,  # noqa: ARG002 (a rotation keeps the size)
    ) -> Float[Tensor, "*rows hidden"]:
        """The state, turned by the sums of the angles."""
        return _turn(exponents.cos(), exponents.sin(), state)

    def transition(self, weights: Weights, embeddings: Float[Tensor, "vocab embedding"]) -> Transition:
        """Each plane turned by the token's angle."""
        angles = self.logarithm(weights, embeddings)
        cos, sin = angles.cos(), angles.sin()
        return lambda rows, states: _turn(cos.index_select(0, rows.tokens), sin.index_select(0, rows.tokens), states)


def _turn(
    cos: Float[Tensor, "*rows planes"], sin: Float[Tensor, "*rows planes"], state: Float[Tensor, "*rows hidden"]
) -> Float[Tensor, "*rows hidden"]:
    x, y = state.unflatten(-1, (2, -1)).unbind(-2)
    turned = cos.new_empty(*cos.shape[:-1], 2, cos.shape[-1])
    turned[..., 0, :] = cos * x - sin * y
    turned[..., 1, :] = sin * x + cos * y
    return turned.flatten(-2)
