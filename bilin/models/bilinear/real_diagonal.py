"""Real diagonal bilinear: each coordinate has a factor of its own, of either sign; block size 1.

    h_t = A_x h_{t-1},    A_x = diag(a_x),    a_x = W x

    W  (H, D)    H·D weights

The matrices commute, so that the state depends on how often each token occurs alone: the logarithms of |a_x|
add up, and so do the minus signs, modulo 2. Of all counters it can track parity alone [1].

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749. The initial values, with which E|A_x h|² = |h|², are ours.
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
class RealDiagonal(Commuting):
    """h_t = (W x) ∘ h_{t-1}."""

    tier: ClassVar[str] = "real_diagonal"

    @property
    def weights(self) -> Mapping[str, Weight]:
        """W."""
        return {"W": Weight((self.hidden, self.embedding), std=self.init_scale * self.embedding**-0.5)}

    def matrix(self, weights: Weights, x: Float[Tensor, " embedding"]) -> Float[Tensor, "hidden hidden"]:
        """diag(W x)."""
        return (weights["W"] @ x).diag()

    def logarithm(
        self, weights: Weights, embeddings: Float[Tensor, "vocab embedding"]
    ) -> Float[Tensor, "vocab exponents"]:
        """Log |a_x| and, behind it, 1 where a_x is negative, else 0."""
        import torch

        factors = embeddings @ weights["W"].T
        # A factor of 0 has no logarithm: it counts as the smallest float, and gets no gradient.
        sizes = factors.abs().clamp_min(torch.finfo(factors.dtype).tiny)
        return torch.cat([sizes.log(), (factors < 0).to(factors.dtype)], dim=1)

    def apply(
        self, exponents: Float[Tensor, "*rows exponents"], state: Float[Tensor, " hidden"], *, any_scale: bool
    ) -> Float[Tensor, "*rows hidden"]:
        """The state times the product of the factors; any scale: the largest product counts as 1."""
        logs, minus_signs = exponents.chunk(2, dim=-1)
        if any_scale:
            logs = logs - logs.detach().amax(-1, keepdim=True)
        return logs.exp() * (1 - 2 * minus_signs.detach().remainder(2)) * state

    def transition(self, weights: Weights, embeddings: Float[Tensor, "vocab embedding"]) -> Transition:
        """a_x ∘ h."""
        factors = embeddings @ weights["W"].T
        return lambda rows, states: factors.index_select(0, rows.tokens) * states
