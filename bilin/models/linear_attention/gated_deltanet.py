"""Gated DeltaNet: the delta rule on a state that each token first multiplies by a decay.

    S_t = α_t S_{t-1} (I - β_t k_t k_tᵀ) + β_t v_t k_tᵀ        o_t = S_t q_t        in each head, S_0 = 0
    α = exp(-exp(A_log) softplus(W_α x + b)), a number between 0 and 1        β = σ(W_β x), or 2σ(W_β x)
    q, k = SiLU(·) / |SiLU(·)|,    v = SiLU(·),    of [q, k, v] = W x

    x <- x + W_o concat_h( RMSNorm(o_h) ∘ SiLU(W_g x)_h )        x after an RMSNorm

    S (d, d)    q, k, v, o (d)    W (3H, H)    W_α, W_β (heads, H)    A_log, b (heads)    W_g, W_o (H, H)

With α = 1 it is DeltaNet with an output gate. With `eigenvalues: signed`, β goes up to 2 and I - β k kᵀ can be a
reflection [2].

Sources:
    [1] Yang, Kautz, Hatamizadeh: Gated Delta Networks: Improving Mamba2 with Delta Rule. ICLR 2025,
        arXiv 2412.06464, eq. 10. α is that of Mamba-2 (Dao, Gu 2024, arXiv 2405.21060), with its initial values but
        for exp(A_log), which is uniform between 0 and 16.
        Their values are twice as wide as their keys; here both have d numbers, as in the other tiers of this folder.
        Their convolution of 4 tokens (`conv_size`) and their perceptron after each layer (`mlp`) are off by default,
        so that a layer can do only what its recurrence can do.
    [2] Grazzi et al.: Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues. arXiv 2411.12537.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.models.linear_attention.linear_attention import DeltaRule


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedDeltaNet(DeltaRule):
    """S_t = α_t S_{t-1} (I - β_t k_t k_tᵀ) + β_t v_t k_tᵀ."""

    tier: ClassVar[str] = "gated_deltanet"
    source: ClassVar[str] = "Yang, Kautz, Hatamizadeh 2024, arXiv 2412.06464"
    decays: ClassVar[bool] = True
