"""Elman network: a state that is replaced at each time by a squashed linear map of itself and the token.

    h_t = tanh(W x_t + U h_{t-1} + b)

    W (H, D), U (H, H), two biases of H    H(D + H + 2) weights; H(2H + 2) in each further layer

Sources:
    [1] Elman: Finding Structure in Time. Cognitive Science 14 (1990). The squashing function tanh and the initial
        values are those of `torch.nn.RNN`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.tier import Module, ZeroStateTier


@dataclass(frozen=True, slots=True, kw_only=True)
class Elman(ZeroStateTier):
    """h_t = tanh(W x_t + U h_{t-1} + b)."""

    tier: ClassVar[str] = "elman"
    source: ClassVar[str] = "Elman 1990"

    embedding: int = option(256, at_least=1, doc="width D of the token embedding")
    init_scale: float = option(1.0, above=0, doc="factor on the initial recurrent weights")
    layers: int = option(1, at_least=1, doc="number of layers")

    def build(self, *, vocab_size: int, num_classes: int) -> Module:
        """See `Tier.build`."""
        from torch import nn

        from bilin.models.recurrent.modules import TorchRecurrence

        return TorchRecurrence(self, nn.RNN, vocab_size=vocab_size, num_classes=num_classes)
