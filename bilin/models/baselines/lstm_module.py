"""The module of the LSTM: embedding, recurrent layers, readout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bilin.models.module import SequenceModel

if TYPE_CHECKING:
    from bilin.models.baselines.lstm import LSTM


class LSTMModule(SequenceModel):
    """`torch.nn.LSTM` from a zero state between an embedding and a linear readout without bias.

    Shapes: embedding (V, D), readout (classes, H); the recurrent weights are those of `torch.nn.LSTM`, with
    its initial values times ``init_scale``.
    """

    def __init__(self, tier: LSTM, *, vocab_size: int, num_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(vocab_size, tier.embedding))
        self.recurrence = nn.LSTM(tier.embedding, tier.hidden, num_layers=tier.layers, batch_first=True)
        with torch.no_grad():
            for weight in self.recurrence.parameters():
                weight.mul_(tier.init_scale)
        self.readout = nn.Linear(tier.hidden, num_classes, bias=False)

    def forward(
        self, tokens: Int[Tensor, "batch time"], num_tokens: Int[Tensor, " batch"], *, every_token: bool = False
    ) -> Float[Tensor, "batch *time classes"]:
        """See `SequenceModel.forward`."""
        states, _ = self.recurrence(self.embedding[tokens])
        if not every_token:
            states = states[torch.arange(len(tokens), device=tokens.device), num_tokens - 1]
        logits: Tensor = self.readout(states)
        return logits
