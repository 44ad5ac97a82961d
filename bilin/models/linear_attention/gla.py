"""GLA: gated linear attention, a sum of values at their keys that fades, each coordinate of the keys at its own pace.

    S_t = diag(α_t) S_{t-1} + k_t v_tᵀ        o_t = S_tᵀ q_t        in each head, S_0 = 0
    α_t = σ(W_2 W_1 x_t + b)^(1/16)

    x <- x + W_o concat_h( RMSNorm(o_h) ∘ SiLU(W_g x)_h )        [q, k, v] = W x, x behind an RMSNorm

    S (d, d)    α, k, q, v, o (d)    W (3H, H)    W_1 (R, H), R = `rank`    W_2 (H, R)    b (H)    W_g, W_o (H, H)

The factors α lie between 0 and 1 and the matrices are diagonal, so that this tier can follow no group, not even
parity [2]. Where there is a short convolution, q, k and v are SiLU of what it returns.

Sources:
    [1] Yang, Wang, Shen, Panda, Kim: Gated Linear Attention Transformers with Hardware-Efficient Training.
        ICML 2024, arXiv 2312.06635, section 4. The root of 16 and the rank of 16 are theirs, as is to go without
        a convolution. Theirs differ in that keys have half the width of values, where here all have d numbers, as
        in the other tiers of this folder; and in the perceptron after each layer (`mlp`), which is off here, so
        that what a layer can do is what its recurrence can do. The factor d^(-1/2) on q is left out before a norm.
    [2] Grazzi, Siems, Zela, Franke, Hutter, Pontil: Unlocking State-Tracking in Linear RNNs Through Negative
        Eigenvalues. ICLR 2025, arXiv 2411.12537, theorem 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.fields import option
from bilin.models.linear_attention.linear_attention import LinearAttention

if TYPE_CHECKING:
    from bilin.models.layers import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class GLA(LinearAttention):
    """S_t = diag(α_t) S_{t-1} + k_t v_tᵀ."""

    tier: ClassVar[str] = "gla"
    source: ClassVar[str] = "Yang et al. 2023, arXiv 2312.06635"

    rank: int = option(16, at_least=1, doc="rank of the map from the input to the gate α")

    def layer(self) -> Layer:
        """One layer with fresh weights."""
        from bilin.models.linear_attention.gla_module import GLALayer

        return GLALayer(self)
