"""LSTM: long short-term memory, a cell whose gates decide what it keeps, takes in and outputs.

    i, f, o = σ(W x_t + U h_{t-1} + b)        g = tanh(W_g x_t + U_g h_{t-1} + b_g)
    c_t = f ∘ c_{t-1} + i ∘ g                 h_t = o ∘ tanh(c_t)

    W (4H, D), U (4H, H), two biases of 4H    4H(D + H + 2) weights; 4H(2H + 2) in each further layer

Sources:
    [1] Hochreiter, Schmidhuber: Long Short-Term Memory. Neural Computation 9 (1997). The forget gate is due to Gers,
        Schmidhuber, Cummins (2000). Cell and initial values are those of `torch.nn.LSTM`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.tier import Module, ZeroStateTier


@dataclass(frozen=True, slots=True, kw_only=True)
class LSTM(ZeroStateTier):
    """c_t = f ∘ c_{t-1} + i ∘ g, h_t = o ∘ tanh(c_t)."""

    tier: ClassVar[str] = "lstm"
    source: ClassVar[str] = "Hochreiter, Schmidhuber 1997"

    embedding: int = option(256, at_least=1, doc="width D of the token embedding")
    init_scale: float = option(1.0, above=0, doc="factor on the initial recurrent weights")
    layers: int = option(1, at_least=1, doc="number of layers")

    def build(self, *, vocab_size: int, num_classes: int) -> Module:
        """See `Tier.build`."""
        from torch import nn

        from bilin.models.recurrent.modules import TorchRecurrence

        return TorchRecurrence(self, nn.LSTM, vocab_size=vocab_size, num_classes=num_classes)
