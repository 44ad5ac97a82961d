"""The torch module of tiers whose recurrence is part of `torch.nn`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from bilin.models.module import Features, SequenceModel, State, Tokens

if TYPE_CHECKING:
    from bilin.models.recurrent.elman import Elman
    from bilin.models.recurrent.lstm import LSTM


class TorchRecurrence(SequenceModel):
    """An embedding, a recurrent network of `torch.nn` from a zero state, and a linear readout without bias.

    Shapes: embedding (V, D), readout (classes, H). The recurrent weights are those of the network; its initial
    values are multiplied by ``init_scale``.
    """

    def __init__(
        self, tier: Elman | LSTM, network: type[nn.RNN] | type[nn.LSTM], *, vocab_size: int, num_classes: int
    ) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(vocab_size, tier.embedding))
        self.recurrence = network(tier.embedding, tier.hidden, num_layers=tier.layers, batch_first=True)
        with torch.no_grad():
            for weight in self.recurrence.parameters():
                weight.mul_(tier.init_scale)
        self.readout = nn.Linear(tier.hidden, num_classes, bias=False)

    def advance(self, tokens: Tokens, state: State = None) -> tuple[Features, State]:
        """See `SequenceModel.advance`. The state is h of every layer, or (h, c) for the LSTM."""
        states, state = self.recurrence(self.embedding[tokens], state)
        return states, state
