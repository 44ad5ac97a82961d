"""Mamba: a selective state space in which each channel has N states, each with its own decay.

    [x, z] = W_in v            x <- SiLU(conv(x))            [r, B, C] = W_x x
    Δ = softplus(W_Δ r + b)    A = -exp(A_log)

    a_t = exp(Δ_t A)                                   eigenvalues positive, in (0, 1)
    a_t = 2 exp(Δ_t A) - 1                             eigenvalues signed, in (-1, 1)

    h_t = a_t ∘ h_{t-1} + (Δ_t ∘ x_t) B_tᵀ      y_t = h_t C_t + D ∘ x_t      out = W_out (y_t ∘ SiLU(z_t))

    v  (H)  input of the layer, after a norm       h, a  (I, N)  I = expand · H channels, N states each
    x, z, Δ, D, b  (I)    B, C  (N)    A_log (I, N)    r  (R)    W_in (2I, H)   W_x (R + 2N, I)   W_Δ (I, R)
    W_out (H, I)    the convolution covers the last K tokens, each channel by itself, with a bias

    a layer has 3HI + I(2R + 3N + K + 3) weights, K + 1 per channel in the convolution; each norm has H

With `conv_size` 0 there is no convolution, x <- SiLU(x), and only the state carries the past.

Signed eigenvalues change only the transition: the input still enters as Δ x B, as in [2] and its code.
Initial values are those of [1] and its code: A_log = log(1, ..., N) for every channel, D = 1, W_Δ uniform within
±1/√R, and b such that softplus(b) is log-uniform between 0.001 and 0.1; the rest are torch's. Two of theirs are not
used: W_out divided by √layers, and an embedding from N(0, 0.02²), which is N(0, 1) here as in other tiers.

Sources:
    [1] Gu, Dao: Mamba: Linear-Time Sequence Modeling with Selective State Spaces. 2023, arXiv 2312.00752
        (algorithm 2, section 3.4 for the block, 3.6 for the initial values).
    [2] Grazzi et al.: Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues. arXiv 2411.12537.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.tier import LayeredTier


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba(LayeredTier):
    """h_t = a_t ∘ h_{t-1} + (Δ_t ∘ x_t) B_tᵀ, with a_t, Δ_t, B_t and C_t from the input."""

    tier: ClassVar[str] = "mamba"
    source: ClassVar[str] = "Gu, Dao 2023, arXiv 2312.00752"
    layer_class: ClassVar[str] = "bilin.models.state_space.modules:MambaLayer"

    layers: int = option(2, at_least=1, doc="number of layers")
    expand: int = option(2, at_least=1, doc="channels of a layer, as a multiple of hidden")
    conv_size: int = option(4, at_least=0, doc="tokens in the short convolution; 0: no convolution")
    eigenvalues: str = option(
        "positive", choices=("positive", "signed"), doc="range of the decay: (0, 1) if positive, (-1, 1) if signed"
    )
    state_size: int = option(16, at_least=1, doc="number N of states per channel")
    dt_rank: int | None = option(
        None, at_least=1, doc="rank of the projection to the step sizes Δ; null: hidden / 16, rounded up"
    )
