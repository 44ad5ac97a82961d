"""Mamba-2: a selective state space in heads, each with one decay for all of its states.

    [z, x, B, C, r] = W_in v       [x, B, C] <- SiLU(conv([x, B, C]))
    Δ = softplus(r + b)            A = -exp(A_log)

    a_t = exp(Δ_t A)                                   eigenvalues positive, in (0, 1)
    a_t = 2 exp(Δ_t A) - 1                             eigenvalues signed, in (-1, 1)

    h_t = a_t h_{t-1} + Δ_t x_t B_tᵀ      y_t = h_t C_t + D x_t      out = W_out norm(y_t ∘ SiLU(z_t))

    v  (H)  the layer's input, behind a norm       h  (heads, P, N)  heads of P = I / heads channels, N states each
    z  (I)  x  (I), as (heads, P)    I = expand · H    B, C  (N), shared by the heads    r, Δ, A, a, D, b  (heads)
    W_in (2I + 2N + heads, H)    W_out (H, I)    norm: root mean square over I, with a weight
    the convolution runs over the last K tokens, each of the I + 2N channels by itself, with a bias

    a layer has 3HI + 2HN + H·heads + (I + 2N)(K + 1) + 3·heads + I weights, and H in its norm; the last norm has H

Signed eigenvalues change the transition alone: the input still enters as Δ x B. The source [2] has them for Mamba;
here the same is done to the decay of a head. Initial values are those of the code of [1]: A uniform between 1 and
16, D = 1, and b such that softplus(b) is log-uniform between 0.001 and 0.1; the rest as torch has it. With the
defaults, P and N are 64, as in [1].

Sources:
    [1] Dao, Gu: Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State Space
        Duality. ICML 2024, arXiv 2405.21060 (section 7 for the block, section 6 for the form in chunks).
    [2] Grazzi, Siems, Zela, Franke, Hutter, Pontil: Unlocking State-Tracking in Linear RNNs Through Negative
        Eigenvalues. ICLR 2025, arXiv 2411.12537.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.fields import option
from bilin.models.tier import Tier

if TYPE_CHECKING:
    from bilin.models.module import SequenceModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba2(Tier):
    """h_t = a_t h_{t-1} + Δ_t x_t B_tᵀ with a number a_t a head, and a_t, Δ_t, B_t and C_t from the input."""

    tier: ClassVar[str] = "mamba2"
    source: ClassVar[str] = "Dao, Gu 2024, arXiv 2405.21060"

    layers: int = option(2, at_least=1, doc="layers, one on top of the other")
    state_size: int = option(64, at_least=1, doc="states of a channel, N")
    expand: int = option(2, at_least=1, doc="channels of a layer, as a multiple of hidden")
    heads: int = option(8, at_least=1, doc="heads; divides hidden times expand")
    conv_size: int = option(4, at_least=1, doc="tokens that the short convolution sees")
    eigenvalues: str = option(
        "positive", choices=("positive", "signed"), doc="range of the transitions: (0, 1) or (-1, 1)"
    )

    def problems(self) -> Mapping[str, str]:
        """Heads are of one width."""
        channels = self.expand * self.hidden
        return {} if channels % self.heads == 0 else {"heads": f"a divisor of hidden times expand ({channels})"}

    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        """A module with fresh weights, drawn from torch's global generator."""
        from bilin.models.state_space.mamba2_module import Mamba2Module

        return Mamba2Module(self, vocab_size=vocab_size, num_classes=num_classes)
