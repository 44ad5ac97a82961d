"""LSTM: long short-term memory, the gated baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.fields import option
from bilin.models.tier import Tier

if TYPE_CHECKING:
    from bilin.models.module import SequenceModel


@dataclass(frozen=True, slots=True, kw_only=True)
class LSTM(Tier):
    """Settings of the LSTM."""

    tier: ClassVar[str] = "lstm"

    layers: int = option(1, at_least=1, doc="recurrent layers, one on top of the other")

    @property
    def recurrent_params(self) -> int:
        """4H(D + H + 2) in the first layer, 4H(2H + 2) in each further one."""
        first = 4 * self.hidden * (self.embedding + self.hidden + 2)
        return first + (self.layers - 1) * 4 * self.hidden * (2 * self.hidden + 2)

    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        """A module with fresh weights, drawn from torch's global generator."""
        from bilin.models.baselines.lstm_module import LSTMModule

        return LSTMModule(self, vocab_size=vocab_size, num_classes=num_classes)
