"""Positive diagonal: each coordinate decays by its own factor and never changes its sign.

    h_t = A_x h_{t-1},    A_x = diag(a_x),    a_x = sigmoid(W x) = exp(-softplus(-W x))

    W  (H, D)    H·D weights

Selective state space models have this kind of transition: exp(-Δ), with Δ a softplus of a linear map of the
input [2]. The tier cannot track any state, not even parity [1].

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749. That the factor is the sigmoid of a linear map is our choice.
    [2] Gu, Dao: Mamba: Linear-Time Sequence Modeling with Selective State Spaces. 2023, arXiv 2312.00752, §3.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.models.bilinear.bilinear import Diagonal, Embeddings, Exponents, State, States, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class PositiveDiagonal(Diagonal):
    """h_t = sigmoid(W x) ∘ h_{t-1}."""

    tier: ClassVar[str] = "positive_diagonal"

    def factors(self, linear: States) -> States:
        """Return sigmoid(W x)."""
        from bilin.models.pointwise import sigmoid

        return sigmoid(linear, stacked=linear.ndim == 3)

    def logarithm(self, weights: Weights, embeddings: Embeddings) -> Exponents:
        """Return the logarithm of sigmoid(W x), which stays finite where sigmoid(W x) rounds to 0."""
        from bilin.models.layers import linear
        from bilin.models.pointwise import logsigmoid

        return logsigmoid(linear(embeddings, weights["W"]))

    def apply(self, exponents: Exponents, state: State, *, any_scale: bool) -> States:
        """See `Commuting.apply`. With any scale, the largest product counts as 1."""
        if any_scale:
            exponents = exponents - exponents.detach().amax(-1, keepdim=True)
        return exponents.exp() * state
