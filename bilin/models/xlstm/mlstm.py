"""mLSTM: a matrix memory, to which exponential gates write keys and values.

    q_t, k_t = W_q w_t, W_k w_t / √P      v_t = W_v u_t      u = W_u x,  w = SiLU(convolution(u))
    i = exp(w_i·[q, √P k, v] + b_i)       f = σ(w_f·[q, √P k, v] + b_f), or exp instead of σ
    C_t = f C_{t-1} + i v_t k_tᵀ          n_t = f n_{t-1} + i k_t
    h_t = C_t q_t / max(|n_t·q_t|, 1)
    m_t = max(log f + m_{t-1}, log i)     stored are C e^(-m) and n e^(-m), which changes no h_t

    layer: r <- r + W_d ((HeadNorm(h) + s ∘ w) ∘ SiLU(W_z x))     x = LayerNorm(r), E = expand · H, P = E / heads
    W_u, W_z (E, H), W_d (H, E); W_q, W_k, W_v (heads, P, P); w_i, w_f (heads, 3E); s (E); C (heads, P, P)

The state enters no gate. Each transition is a number per head, so products do not depend on the order, and up to 64
tokens are computed at once, with the same result as a loop over time.

From the published block [1, fig. 11] we keep: the two branches of twice the width (``expand``), one of which gates
the output through SiLU; the convolution over four tokens before q and k (``conv_size``; 0 for no convolution and no
SiLU, so that only the memory carries the past); the skip s around the cell; and the norm of each head. W_q, W_k and
W_v are full within heads, where the authors use blocks of 4. The equations allow two forget gates, and both are
available. The sigmoid is the default, as in the authors' code [2]: with it, what is remembered cannot outgrow what
is new.

Initial values are those of [2]: matrices from N(0, 2 / (5H)), W_d from N(0, 4 / (layers² H)); w_i, w_f zero; b_i
from N(0, 0.1²), b_f from 3 to 6 over the heads (an exponential gate starts at the same f); s one.

Sources:
    [1] Beck, Pöppel et al.: xLSTM: Extended Long Short-Term Memory. arXiv 2405.04517, section 2.3 and appendix A.
    [2] github.com/NX-AI/xlstm, the code of the authors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from bilin.fields import option
from bilin.models.tier import LayeredTier


@dataclass(frozen=True, slots=True, kw_only=True)
class MLSTM(LayeredTier):
    """C_t = f C_{t-1} + i v_t k_tᵀ, n_t = f n_{t-1} + i k_t, h_t = C_t q_t / max(|n_t·q_t|, 1)."""

    tier: ClassVar[str] = "mlstm"
    source: ClassVar[str] = "Beck, Pöppel et al. 2024, arXiv 2405.04517"
    norm: ClassVar[Literal["rms", "layer"]] = "layer"
    layer_class: ClassVar[str] = "bilin.models.xlstm.modules:MLSTMLayer"

    heads: int = option(4, at_least=1, doc="number of heads, each at least 2 wide; divides hidden times expand")
    expand: int = option(2, at_least=1, doc="channels of a layer, as a multiple of hidden")
    conv_size: int = option(4, at_least=0, doc="tokens in the convolution before the cell; 0: no convolution")
    forget_gate: str = option("sigmoid", choices=("sigmoid", "exp"), doc="activation of the forget gate")

    def problems(self) -> Mapping[str, str]:
        """See `Tier.problems`. Heads are equally wide; the norm of a head of width 1 would always be 0."""
        inner = self.expand * self.hidden
        if inner % self.heads or inner == self.heads:
            return {"heads": f"a divisor of hidden times expand ({inner}), and smaller"}
        return {}
