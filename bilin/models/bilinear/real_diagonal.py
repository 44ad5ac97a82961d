"""Real diagonal bilinear: each coordinate is multiplied by its own factor, of either sign; block size 1.

    h_t = A_x h_{t-1},    A_x = diag(a_x),    a_x = W x

    W  (H, D)    H·D weights

The matrices commute, so the state depends only on how often each token occurs: the logarithms of |a_x| add up, and
so do the minus signs, modulo 2. Of all counters modulo a number, the tier can track only parity [1].

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749. The initial values, which give E|A_x h|² = |h|², are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.models.bilinear.bilinear import Diagonal, Embeddings, Exponents, State, States, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class RealDiagonal(Diagonal):
    """h_t = (W x) ∘ h_{t-1}."""

    tier: ClassVar[str] = "real_diagonal"

    def factors(self, linear: States) -> States:
        """Return W x."""
        return linear

    def logarithm(self, weights: Weights, embeddings: Embeddings) -> Exponents:
        """Return log |a_x|, followed by 1 for each negative a_x and 0 for the others."""
        import torch

        from bilin.models.layers import linear

        factors = linear(embeddings, weights["W"])
        # A factor of 0 has no logarithm: it counts as the smallest float, and gets no gradient.
        sizes = factors.abs().clamp_min(torch.finfo(factors.dtype).tiny)
        return torch.cat([sizes.log(), (factors < 0).to(factors.dtype)], dim=1)

    def apply(self, exponents: Exponents, state: State, *, any_scale: bool) -> States:
        """See `Commuting.apply`. With any scale, the largest product counts as 1."""
        logs, minus_signs = exponents.chunk(2, dim=-1)
        if any_scale:
            logs = logs - logs.detach().amax(-1, keepdim=True)
        return logs.exp() * (1 - 2 * minus_signs.detach().remainder(2)) * state
