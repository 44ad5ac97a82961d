"""GLA: gated linear attention, a decaying sum of values at their keys, with a decay for each coordinate of the keys.

    S_t = diag(α_t) S_{t-1} + k_t v_tᵀ        o_t = S_tᵀ q_t        in each head, S_0 = 0
    α_t = σ(W_2 W_1 x_t + b)^(1/16)

    x <- x + W_o concat_h( RMSNorm(o_h) ∘ SiLU(W_g x)_h )        [q, k, v] = W x, x after an RMSNorm

    S (d, d)    α, k, q, v, o (d)    W (3H, H)    W_1 (R, H), R = `rank`    W_2 (H, R)    b (H)    W_g, W_o (H, H)

The factors α are between 0 and 1 and the matrices are diagonal, so this tier can track no group, not even
parity [2]. With a short convolution, q, k and v are SiLU of its output.

Sources:
    [1] Yang, Wang, Shen, Panda, Kim: Gated Linear Attention Transformers with Hardware-Efficient Training.
        ICML 2024, arXiv 2312.06635, section 4. The 16th root and the rank of 16 are theirs, and they have no
        convolution either. Their keys are half as wide as their values; here both have d numbers, as in the other
        tiers of this folder. Their perceptron after each layer (`mlp`) is off by default, so that a layer can do
        only what its recurrence can do. The factor d^(-1/2) on q is omitted, since a norm follows.
    [2] Grazzi, Siems, Zela, Franke, Hutter, Pontil: Unlocking State-Tracking in Linear RNNs Through Negative
        Eigenvalues. ICLR 2025, arXiv 2411.12537, theorem 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.linear_attention.linear_attention import LinearAttention


@dataclass(frozen=True, slots=True, kw_only=True)
class GLA(LinearAttention):
    """S_t = diag(α_t) S_{t-1} + k_t v_tᵀ."""

    tier: ClassVar[str] = "gla"
    source: ClassVar[str] = "Yang et al. 2023, arXiv 2312.06635"
    layer_class: ClassVar[str] = "bilin.models.linear_attention.modules:GLALayer"

    rank: int = option(16, at_least=1, doc="rank of the map from the input to the gate α")
