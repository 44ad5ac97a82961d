"""DeltaNet: the delta rule, which replaces the value stored at a key by a new value.

    S_t = S_{t-1} (I - β_t k_t k_tᵀ) + β_t v_t k_tᵀ        o_t = S_t q_t        in each head, S_0 = 0
    q, k = SiLU(·) / |SiLU(·)|,    v = SiLU(·),    of [q, k, v] = W x        β = σ(W_β x), or 2σ(W_β x)

    x <- x + W_o concat_h( RMSNorm(o_h) )        x after an RMSNorm; times SiLU(W_g x) with `output_gate`

    S (d, d)    q, k, v, o (d)    W (3H, H)    W_β (heads, H)    W_g, W_o (H, H)

I - β k kᵀ has the eigenvalue 1 - β along k and 1 elsewhere. With `eigenvalues: positive`, β is below 1 and the matrix
is a partial projection, which cannot track parity. With `signed`, β is below 2 and the matrix is a partial
reflection, which can [3]. One layer can then track what one reflection per token generates: parity, but no group that
needs rotations.

Sources:
    [1] Schlag, Irie, Schmidhuber: Linear Transformers Are Secretly Fast Weight Programmers. ICML 2021,
        arXiv 2102.11174, eq. 20 to 24.
    [2] Yang, Wang, Zhang, Shen, Kim: Parallelizing Linear Transformers with the Delta Rule over Sequence Length.
        NeurIPS 2024, arXiv 2406.06484: SiLU, keys of norm 1, the norm of the output. Their convolution of 4 tokens
        (`conv_size`) and their perceptron after each layer (`mlp`) are off by default, so that a layer can do only
        what its recurrence can do. The factor d^(-1/2) on q is omitted, since a norm follows.
    [3] Grazzi et al.: Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues. arXiv 2411.12537.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.linear_attention.linear_attention import DeltaRule


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaNet(DeltaRule):
    """S_t = S_{t-1} (I - β_t k_t k_tᵀ) + β_t v_t k_tᵀ."""

    tier: ClassVar[str] = "deltanet"
    source: ClassVar[str] = "Schlag et al. 2021, arXiv 2102.11174; Yang et al. 2024, arXiv 2406.06484"

    output_gate: bool = option(False, doc="multiply the output of a layer by a gate, SiLU of its input")
