"""Gated DeltaProduct: n steps of the delta rule per token, on a state that the token first multiplies by a decay.

    S_{t,0} = α_t S_{t-1}        S_{t,j} = S_{t,j-1} (I - β_{t,j} k_{t,j} k_{t,j}ᵀ) + β_{t,j} v_{t,j} k_{t,j}ᵀ
    S_t = S_{t,n}        o_t = S_t q_t        in each head, S_0 = 0        j = 1 … n, n = `householders`
    α = exp(-exp(A_log) softplus(W_α x + b)), a number between 0 and 1, once per token
    q, k_j = SiLU(·) / |SiLU(·)|,    v_j = SiLU(·),    of [q, k_1 … k_n, v_1 … v_n] = W x        β_j = 2σ(W_β x)_j, or σ

    x <- x + W_o concat_h( RMSNorm(o_h) ∘ SiLU(W_g x)_h )        x after an RMSNorm

    S (d, d)    q, k, v, o (d)    W ((1 + 2n)H, H)    W_α (heads, H)    W_β (n·heads, H)    A_log, b (heads)
    W_g, W_o (H, H)

With α = 1 it is DeltaProduct with an output gate; with n = 1 it is Gated DeltaNet.

Sources:
    [1] Siems, Carstensen, Zela, Hutter, Pontil, Grazzi: DeltaProduct: Improving State-Tracking in Linear RNNs via
        Householder Products. NeurIPS 2025, arXiv 2502.10297, section 3. Their convolution of 4 tokens (`conv_size`)
        and their perceptron after each layer (`mlp`) are off by default, so that a layer can do only what its
        recurrence can do.
    [2] Yang, Kautz, Hatamizadeh: Gated Delta Networks. ICLR 2025, arXiv 2412.06464: α and the output gate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.linear_attention.deltaproduct import DeltaProduct


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedDeltaProduct(DeltaProduct):
    """S_t = α_t S_{t-1} Π_j (I - β_j k_j k_jᵀ) + what the n steps write."""

    tier: ClassVar[str] = "gated_deltaproduct"
    decays: ClassVar[bool] = True

    output_gate: bool = option(True, doc="multiply the output of a layer by a gate, SiLU of its input")
