"""Mamba: a selective state space, each channel with N states that decay at rates of their own.

    [x, z] = W_in v            x <- SiLU(conv(x))            [r, B, C] = W_x x
    Δ = softplus(W_Δ r + b)    A = -exp(A_log)

    a_t = exp(Δ_t A)                                   eigenvalues positive, in (0, 1)
    a_t = 2 exp(Δ_t A) - 1                             eigenvalues signed, in (-1, 1)

    h_t = a_t ∘ h_{t-1} + (Δ_t ∘ x_t) B_tᵀ      y_t = h_t C_t + D ∘ x_t      out = W_out (y_t ∘ SiLU(z_t))

    v  (H)  the layer's input, behind a norm       h, a  (I, N)  I = expand · H channels, N states each
    x, z, Δ, D, b  (I)    B, C  (N)    A_log (I, N)    r  (R)    W_in (2I, H)   W_x (R + 2N, I)   W_Δ (I, R)
    W_out (H, I)    the convolution runs over the last K tokens, each channel by itself, with a bias

    a layer has 3HI + I(2R + 3N + K + 3) weights, K + 1 a channel in the convolution; its norm has H, the last one too

With `conv_size` 0 there is no convolution, x <- SiLU(x): nothing but the state carries what came before.

Signed eigenvalues change the transition alone: the input still enters as Δ x B, as in [2] and in its code.
Initial values are those of [1] and its code: A_log = log(1, ..., N) for every channel, D = 1, W_Δ uniform within
±1/√R, and b such that softplus(b) is log-uniform between 0.001 and 0.1; the rest as torch has it. Two of theirs are
not taken over: that W_out is divided by √layers, and an embedding from N(0, 0.02²), here N(0, 1) as in other tiers.

Sources:
    [1] Gu, Dao: Mamba: Linear-Time Sequence Modeling with Selective State Spaces. 2023, arXiv 2312.00752
        (algorithm 2, section 3.4 for the block, 3.6 for the initial values).
    [2] Grazzi, Siems, Zela, Franke, Hutter, Pontil: Unlocking State-Tracking in Linear RNNs Through Negative
        Eigenvalues. ICLR 2025, arXiv 2411.12537.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.fields import option
from bilin.models.state_space.selective import Selective

if TYPE_CHECKING:
    from bilin.models.module import SequenceModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba(Selective):
    """h_t = a_t ∘ h_{t-1} + (Δ_t ∘ x_t) B_tᵀ, with a_t, Δ_t, B_t and C_t from the input."""

    tier: ClassVar[str] = "mamba"
    source: ClassVar[str] = "Gu, Dao 2023, arXiv 2312.00752"

    state_size: int = option(16, at_least=1, doc="states of a channel, N")
    dt_rank: int | None = option(None, at_least=1, doc="rank of the projection to the steps Δ; null: hidden / 16, up")

    @property
    def steps_rank(self) -> int:
        """R, the rank of the projection to Δ."""
        return self.dt_rank or -(-self.hidden // 16)

    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        """A module with fresh weights, drawn from torch's global generator."""
        from bilin.models.state_space.mamba_module import MambaModule

        return MambaModule(self, vocab_size=vocab_size, num_classes=num_classes)
