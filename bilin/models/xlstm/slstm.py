"""sLSTM: an LSTM with exponential gates, a normaliser, and a state that is mixed within heads.

    z, o  from W x_t + R h_{t-1} + b          z = tanh(·)      o = σ(·)
    i, f  from W w_t + R h_{t-1} + b          i = exp(·)       f = σ(·) or exp(·)      w = SiLU(convolution(x))
    c_t = f ∘ c_{t-1} + i ∘ z                 n_t = f ∘ n_{t-1} + i                    h_t = o ∘ c_t / n_t
    m_t = max(log f + m_{t-1}, log i)         c and n are kept as c e^(-m), n e^(-m), which changes no h_t

    layer: r <- r + HeadNorm(h), x = LayerNorm(r);    r <- r + W_3 (GELU(W_1 x) ∘ W_2 x), x = LayerNorm(r)
    W and R of each of the four block-diagonal, (heads, P, P)     P = H / heads, F = ⌈4H / 3⌉
    8HP + 4H weights, H(K + 1) in the convolution over K tokens, 3FH in the perceptron, 5H in the norms; 2H in the last

From the published block [1, fig. 10] all is kept: the convolution over four tokens before i and f (``conv_size``;
0 for none: then w = x, and nothing but the state carries what came before), the norm of each head, and the gated
perceptron after the cell. ``layers`` counts such blocks. Both gates that the equations allow are there; the sigmoid
is the default, as in the authors' code [2], since with it what is remembered cannot outgrow what is new.

Initial values are those of [2]: W from N(0, 2 / (5H)); R zero; biases zero, but for the forget gate's, which fall
along each head from 5 to -7 as 5 - 12 (j / (P - 1))^(0.3 + 1.3 l / (layers - 1)), l = 0 … layers - 1 (an
exponential gate starts at the same f); W_3 from N(0, 4 / (layers² H)).

Sources:
    [1] Beck, Pöppel, Spanring, Auer, Prudnikova, Kopp, Klambauer, Brandstetter, Hochreiter: xLSTM: Extended Long
        Short-Term Memory. NeurIPS 2024, arXiv 2405.04517, section 2.2 and appendix A.
    [2] github.com/NX-AI/xlstm, the code of the authors.
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
class SLSTM(Tier):
    """c_t = f ∘ c_{t-1} + i ∘ z, n_t = f ∘ n_{t-1} + i, h_t = o ∘ c_t / n_t."""

    tier: ClassVar[str] = "slstm"
    source: ClassVar[str] = "Beck, Pöppel et al. 2024, arXiv 2405.04517"

    layers: int = option(1, at_least=1, doc="layers, one on top of the other")
    heads: int = option(4, at_least=1, doc="heads, each of a width of at least 2; divides hidden")
    conv_size: int = option(4, at_least=0, doc="tokens that the convolution before the gates sees; 0: none")
    forget_gate: str = option("sigmoid", choices=("sigmoid", "exp"), doc="what squashes the forget gate")

    def problems(self) -> Mapping[str, str]:
        """Heads share the width evenly, and a head of width 1 would be nothing but its mean."""
        if self.hidden % self.heads or self.hidden == self.heads:
            return {"heads": f"a divisor of hidden ({self.hidden}), and smaller"}
        return {}

    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        """A module with fresh weights, drawn from torch's global generator."""
        from torch import nn

        from bilin.models.layers import Stack
        from bilin.models.xlstm.slstm_module import GatedPerceptron, SLSTMLayer

        layers = [
            layer for index in range(self.layers) for layer in (SLSTMLayer(self, index=index), GatedPerceptron(self))
        ]
        return Stack(layers, hidden=self.hidden, vocab_size=vocab_size, num_classes=num_classes, norm=nn.LayerNorm)
