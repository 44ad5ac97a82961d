"""Positive diagonal: each coordinate decays by a factor of its own, never changing its sign.

    h_t = A_x h_{t-1},    A_x = diag(a_x),    a_x = sigmoid(W x) = exp(-softplus(-W x))

    W  (H, D)    H·D weights

The kind of transition that selective state space models have: exp(-Δ), with Δ a softplus of a linear map of
the input [2]. It can track no state: not even parity [1].

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749. That the factor is the sigmoid of a linear map is our choice.
    [2] Gu, Dao: Mamba: Linear-Time Sequence Modeling with Selective State Spaces. 2023, arXiv 2312.00752, §3.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.models.bilinear.bilinear import Commuting, Weight

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from bilin.models.bilinear.bilinear import Transition, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class PositiveDiagonal(Commuting):
    """h_t = sigmoid(W x) ∘ h_{t-1}."""

    tier: ClassVar[str] = "positive_diagonal"

    @property
    def weights(self) -> Mapping[str, Weight]:
        """W."""
        return {"W": Weight((self.hidden, self.embedding), std=self.init_scale * self.embedding**-0.5)}

    def matrix(self, weights: Weights, x: Float[Tensor, " embedding"]) -> Float[Tensor, "hidden hidden"]:
        """diag(sigmoid(W x))."""
        return (weights["W"] @ x).sigmoid().diag()

    def logarithm(
        self, weights: Weights, embeddings: Float[Tensor, "vocab embedding"]
    ) -> Float[Tensor, "vocab exponents"]:
        """The logarithm of sigmoid(W x), which stays finite where sigmoid(W x) rounds to 0."""
        from torch.nn.functional import logsigmoid

        return logsigmoid(embeddings @ weights["W"].T)

    def apply(
        self, exponents: Float[Tensor, "*rows exponents"], state: Float[Tensor, " hidden"], *, any_scale: bool
    ) -> Float[Tensor, "*rows hidden"]:
        """The state times the product of the factors; any scale: the largest product counts as 1."""
        if any_scale:
            exponents = exponents - exponents.detach().amax(-1, keepdim=True)
        return exponents.exp() * state

    def transition(self, weights: Weights, embeddings: Float[Tensor, "vocab embedding"]) -> Transition:
        """a_x ∘ h."""
        factors = (embeddings @ weights["W"].T).sigmoid()
        return lambda rows, states: factors.index_select(0, rows.tokens) * states
