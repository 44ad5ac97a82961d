"""Mamba-2: a selective state space with heads, each with one decay for all of its states.

    [z, x, B, C, r] = W_in v       [x, B, C] <- SiLU(conv([x, B, C]))
    Δ = softplus(r + b)            A = -exp(A_log)

    a_t = exp(Δ_t A)                                   eigenvalues positive, in (0, 1)
    a_t = 2 exp(Δ_t A) - 1                             eigenvalues signed, in (-1, 1)

    h_t = a_t h_{t-1} + Δ_t x_t B_tᵀ      y_t = h_t C_t + D x_t      out = W_out norm(y_t ∘ SiLU(z_t))

    v  (H)  input of the layer, after a norm       h  (heads, P, N)  heads of P = I / heads channels, N states each
    z  (I)  x  (I), as (heads, P)    I = expand · H    B, C  (N), shared by the heads    r, Δ, A, a, D, b  (heads)
    W_in (2I + 2N + heads, H)    W_out (H, I)    norm: root mean square over I, with a weight
    the convolution covers the last K tokens, each of the I + 2N channels by itself, with a bias

    a layer has 3HI + 2HN + H·heads + (I + 2N)(K + 1) + 3·heads + I weights, and H in its norm; the last norm has H

With `conv_size` 0 there is no convolution with its (I + 2N)(K + 1) weights, [x, B, C] <- SiLU([x, B, C]), and only
the state carries the past.

Signed eigenvalues change only the transition: the input still enters as Δ x B. The source [2] has them for Mamba;
here the same is done to the decay of a head. Initial values are those of the code of [1]: A uniform between 1 and
16, D = 1, and b such that softplus(b) is log-uniform between 0.001 and 0.1; the rest are torch's. Two of theirs are
not used: W_out divided by √layers, and an embedding from N(0, 0.02²), which is N(0, 1) here as in other tiers. With
the defaults P is 64, as in their code, and N is 64, where it is 128 in their code.

Sources:
    [1] Dao, Gu: Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space
        Duality. ICML 2024, arXiv 2405.21060 (section 7 for the block, section 6 for the form in chunks).
    [2] Grazzi et al.: Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues. arXiv 2411.12537.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.tier import LayeredTier


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba2(LayeredTier):
    """h_t = a_t h_{t-1} + Δ_t x_t B_tᵀ with one number a_t per head, and a_t, Δ_t, B_t and C_t from the input."""

    tier: ClassVar[str] = "mamba2"
    source: ClassVar[str] = "Dao, Gu 2024, arXiv 2405.21060"
    layer_class: ClassVar[str] = "bilin.models.state_space.modules:Mamba2Layer"

    layers: int = option(2, at_least=1, doc="number of layers")
    expand: int = option(2, at_least=1, doc="channels of a layer, as a multiple of hidden")
    conv_size: int = option(4, at_least=0, doc="tokens in the short convolution; 0: no convolution")
    eigenvalues: str = option(
        "positive", choices=("positive", "signed"), doc="range of the decay: (0, 1) if positive, (-1, 1) if signed"
    )
    state_size: int = option(64, at_least=1, doc="number N of states per channel")
    heads: int = option(8, at_least=1, doc="number of heads; divides hidden times expand")

    def problems(self) -> Mapping[str, str]:
        """See `Tier.problems`. Heads are equally wide."""
        channels = self.expand * self.hidden
        return {} if channels % self.heads == 0 else {"heads": f"a divisor of hidden times expand ({channels})"}
