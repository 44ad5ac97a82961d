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

With `conv_size` 0 there is no convolution and the (I + 2N)(K + 1) weights fall away, [x, B, C] <- SiLU([x, B, C]):
nothing but the state carries what came before.

Signed eigenvalues change the transition alone: the input still enters as Δ x B. The source [2] has them for Mamba;
here the same is done to the decay of a head. Initial values are those of the code of [1]: A uniform between 1 and
16, D = 1, and b such that softplus(b) is log-uniform between 0.001 and 0.1; the rest as torch has it. Two of theirs
are not taken over: that W_out is divided by √layers, and an embedding from N(0, 0.02²), here N(0, 1) as in other
tiers. With the defaults P is 64, as in their code, and N is 64, where it is 128 in their code.

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
from bilin.models.state_space.selective import Selective

if TYPE_CHECKING:
    from bilin.models.module import SequenceModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Mamba2(Selective):
    """h_t = a_t h_{t-1} + Δ_t x_t B_tᵀ with a number a_t a head, and a_t, Δ_t, B_t and C_t from the input."""

    tier: ClassVar[str] = "mamba2"
    source: ClassVar[str] = "Dao, Gu 2024, arXiv 2405.21060"

    state_size: int = option(64, at_least=1, doc="states of a channel, N")
    heads: int = option(8, at_least=1, doc="heads; divides hidden times expand")

    def problems(self) -> Mapping[str, str]:
        """Heads are of one width."""
        channels = self.expand * self.hidden
        return {} if channels % self.heads == 0 else {"heads": f"a divisor of hidden times expand ({channels})"}

    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        """A module with fresh weights, drawn from torch's global generator."""
        from bilin.models.state_space.mamba2_module import Mamba2Module

        return Mamba2Module(self, vocab_size=vocab_size, num_classes=num_classes)
