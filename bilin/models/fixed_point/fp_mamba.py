"""FP-Mamba: a selective state space model with a matrix as state, iterated to a fixed point.

    H^l_t = λ_t ∘ H^l_{t-1} + (Δ_t ∘ x̃^l_t) b_tᵀ        x̃^l_t = Q_t (x_t - y^{l-1}_t) + y^{l-1}_t        y^0 = 0
    y^l_t = norm( H^l_t c_t + D ∘ x̃^l_t )        out_t = W ( SiLU(z_t + V y_{t-1}) ∘ y_t )

    H (E, N)   state, E = expand · hidden, N = state_size        x, y, z, Δ, D  E numbers each     b, c  N numbers each
    λ_t = exp(Δ_t a), a (E, N) negative        Δ = softplus(W_Δ W' x_t + β), through rank ⌈hidden / 16⌉
    b = W x_t + V y^{l-1}_{t-1}, divided by its length; c likewise; settings decide whether Q and Δ see the output
    norm: layer normalization, after every iteration
    Q_t (E, E)    mixer; bilin/models/fixed_point/implicit.py describes it and the iteration

There is no short convolution.

Sources:
    [1] Movahedi et al.: Fixed-Point RNNs: Interpolating from Diagonal to Dense. arXiv 2503.10799, equations 12 and 13.
        D, 1 at first, and V are those of the published code.
    [2] Gu, Dao: Mamba: Linear-Time Sequence Modeling with Selective State Spaces. 2023, arXiv 2312.00752: initial
        values of a, -1 … -N, and of β, steps of 0.001 to 0.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.fixed_point.implicit import Implicit


@dataclass(frozen=True, slots=True, kw_only=True)
class FPMamba(Implicit):
    """H_t = λ_t ∘ H_{t-1} + (Δ_t ∘ x̃_t) b_tᵀ, y_t = norm(H_t c_t + D ∘ x̃_t), x̃_t = Q_t (x_t - y_t) + y_t."""

    tier: ClassVar[str] = "fp_mamba"
    layer_class: ClassVar[str] = "bilin.models.fixed_point.modules:FPMambaLayer"

    state_size: int = option(16, at_least=1, doc="number N of states per channel")

    @property
    def version(self) -> int:
        """See `Tier.version`. Version 1 had neither D nor V."""
        return 2
