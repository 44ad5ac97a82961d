"""DeltaProduct: n steps of the delta rule per token, each with its own key, value and β.

    S_{t,0} = S_{t-1}        S_{t,j} = S_{t,j-1} (I - β_{t,j} k_{t,j} k_{t,j}ᵀ) + β_{t,j} v_{t,j} k_{t,j}ᵀ
    S_t = S_{t,n}        o_t = S_t q_t        in each head, S_0 = 0        j = 1 … n, n = `householders`
    q, k_j = SiLU(·) / |SiLU(·)|,    v_j = SiLU(·),    of [q, k_1 … k_n, v_1 … v_n] = W x        β_j = 2σ(W_β x)_j, or σ

    x <- x + W_o concat_h( RMSNorm(o_h) )        x after an RMSNorm; times SiLU(W_g x) with `output_gate`

    S (d, d)    q, k, v, o (d)    W ((1 + 2n)H, H)    W_β (n·heads, H)    W_g, W_o (H, H)

The transition of a token is a product of n generalized Householder matrices. With `eigenvalues: signed`, two of them
make any rotation of a plane, and n of them any permutation of n + 1 elements: S3 needs n = 2, S5 n = 4 [1]. With
n = 1 it is DeltaNet.

Sources:
    [1] Siems, Carstensen, Zela, Hutter, Pontil, Grazzi: DeltaProduct: Improving State-Tracking in Linear RNNs via
        Householder Products. NeurIPS 2025, arXiv 2502.10297, section 3. Their models have a convolution of 4 tokens
        (`conv_size`; not in their experiments with groups) and a perceptron after each layer (`mlp`). Both are off
        by default, so that a layer can do only what its recurrence can do.
    [2] Grazzi et al.: Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues. arXiv 2411.12537.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.linear_attention.linear_attention import BETA_RANGE, DeltaRule


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaProduct(DeltaRule):
    """S_t = S_{t-1} Π_j (I - β_j k_j k_jᵀ) + what the n steps write."""

    tier: ClassVar[str] = "deltaproduct"
    source: ClassVar[str] = "Siems et al. 2025, arXiv 2502.10297"

    output_gate: bool = option(False, doc="multiply the output of a layer by a gate, SiLU of its input")
    eigenvalues: str = option("signed", choices=("positive", "signed"), doc=BETA_RANGE)
    householders: int = option(2, at_least=1, doc="number n of products I - β k kᵀ per token")

    @property
    def num_products(self) -> int:
        """See `DeltaRule.num_products`."""
        return self.householders
