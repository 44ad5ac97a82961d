"""sLSTM: an LSTM with exponential gates, a normalizer, and a state that is mixed within heads.

    z, o  from W x_t + R h_{t-1} + b          z = tanh(·)      o = σ(·)
    i, f  from W w_t + R h_{t-1} + b          i = exp(·)       f = σ(·) or exp(·)      w = SiLU(convolution(x))
    c_t = f ∘ c_{t-1} + i ∘ z                 n_t = f ∘ n_{t-1} + i                    h_t = o ∘ c_t / n_t
    m_t = max(log f + m_{t-1}, log i)         stored are c e^(-m) and n e^(-m), which changes no h_t

    layer: r <- r + HeadNorm(h), x = LayerNorm(r);    r <- r + W_3 (GELU(W_1 x) ∘ W_2 x), x = LayerNorm(r)
    W and R of each of the four block-diagonal, (heads, P, P)     P = H / heads, F = ⌈4H / 3⌉
    8HP + 4H weights, H(K + 1) in the convolution over K tokens, 3FH in the perceptron, 5H in the norms; 2H in the
    norm before the readout

All of the published block [1, fig. 10] is kept: the convolution over four tokens before i and f (``conv_size``; 0
for w = x, so that only the state carries the past), the norm of each head, and the gated perceptron after the cell.
``layers`` counts such blocks. The equations allow two forget gates, and both are available. The sigmoid is the
default, as in the authors' code [2]: with it, what is remembered cannot outgrow what is new.

Initial values are those of [2]: W from N(0, 2 / (5H)); R zero; biases zero, except those of the forget gate, which
fall along each head from 5 to -7 as 5 - 12 (j / (P - 1))^(0.3 + 1.3 l / (layers - 1)), l = 0 … layers - 1 (an
exponential gate starts at the same f); W_3 from N(0, 4 / (layers² H)).

Sources:
    [1] Beck, Pöppel et al.: xLSTM: Extended Long Short-Term Memory. arXiv 2405.04517, section 2.2 and appendix A.
    [2] github.com/NX-AI/xlstm, the code of the authors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from bilin.fields import option
from bilin.models.tier import LayeredTier, Layers


@dataclass(frozen=True, slots=True, kw_only=True)
class SLSTM(LayeredTier):
    """c_t = f ∘ c_{t-1} + i ∘ z, n_t = f ∘ n_{t-1} + i, h_t = o ∘ c_t / n_t."""

    tier: ClassVar[str] = "slstm"
    source: ClassVar[str] = "Beck, Pöppel et al. 2024, arXiv 2405.04517"
    norm: ClassVar[Literal["rms", "layer"]] = "layer"

    heads: int = option(4, at_least=1, doc="number of heads, each at least 2 wide; divides hidden")
    conv_size: int = option(4, at_least=0, doc="tokens in the convolution before the gates; 0: no convolution")
    forget_gate: str = option("sigmoid", choices=("sigmoid", "exp"), doc="activation of the forget gate")

    def problems(self) -> Mapping[str, str]:
        """See `Tier.problems`. Heads are equally wide; the norm of a head of width 1 would always be 0."""
        if self.hidden % self.heads or self.hidden == self.heads:
            return {"heads": f"a divisor of hidden ({self.hidden}), and smaller"}
        return {}

    def make_layers(self) -> Layers:
        """See `LayeredTier.make_layers`. A perceptron follows each cell."""
        from bilin.models.xlstm.modules import SLSTMLayer, SLSTMPerceptron

        return [
            layer for index in range(self.layers) for layer in (SLSTMLayer(self, index=index), SLSTMPerceptron(self))
        ]
