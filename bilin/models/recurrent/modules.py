"""The torch module of the recurrences that are also part of `torch.nn`, written so that they can be stacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.layers import Linear
from bilin.models.module import Features, SequenceModel, State, Tokens
from bilin.models.pointwise import sigmoid
from bilin.models.stacking import in_stack, look_up

if TYPE_CHECKING:
    from bilin.models.recurrent.elman import Elman
    from bilin.models.recurrent.lstm import LSTM

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

Sequences: TypeAlias = Float[Tensor, "members batch time width"]
States: TypeAlias = Float[Tensor, "members batch hidden"]


class TorchRecurrence(SequenceModel):
    """An embedding, a recurrent network from a zero state, and a linear readout without bias.

    Shapes: embedding (V, D), readout (classes, H). The recurrent weights are those of a network of `torch.nn`, which
    only holds them; its initial values are multiplied by ``init_scale``.
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
        self.readout = Linear(tier.hidden, num_classes, bias=False)

    def advance(self, tokens: Tokens, state: State = None) -> tuple[Features, State]:
        """See `SequenceModel.advance`. The state is that of every layer: h, or h and c for the LSTM."""
        x, ends = look_up(self.embedding, tokens), []
        is_lstm = isinstance(self.recurrence, nn.LSTM)
        for layer in range(self.recurrence.num_layers):
            weights = [getattr(self.recurrence, f"{name}_l{layer}") for name in WEIGHTS]
            zero = x.new_zeros(len(x), self.recurrence.hidden_size)
            start = ((zero, zero) if is_lstm else (zero,)) if state is None else state[layer]
            x, *end = in_stack(lstm if is_lstm else elman, x, *weights, *start)
            ends.append(tuple(end))
        return x, tuple(ends)


def elman(
    x: Sequences, W: Tensor, U: Tensor, b: Tensor, c: Tensor, h: States
) -> tuple[Float[Tensor, "members batch time hidden"], States]:
    """Return the states of h <- tanh(W x + b + U h + c) at every time, and the last one."""
    states = []
    for now in from_inputs(x, W, b + c):
        h = torch.baddbmm(now, h, U.mT).tanh()
        states.append(h)
    return torch.stack(states, dim=2), h


def lstm(
    x: Sequences, W: Tensor, U: Tensor, b: Tensor, c: Tensor, h: States, cell: States
) -> tuple[Float[Tensor, "members batch time hidden"], States, States]:
    """Return the states h at every time, and the last h and c. The gates are in the order i, f, g, o."""
    states, width = [], h.shape[2]
    for now in from_inputs(x, W, b + c):
        i_and_f, g, o = torch.baddbmm(now, h, U.mT).split([2 * width, width, width], dim=-1)
        i, f = sigmoid(i_and_f, stacked=True).chunk(2, dim=-1)
        cell = torch.addcmul(f * cell, i, g.tanh())
        h = sigmoid(o, stacked=True) * cell.tanh()
        states.append(h)
    return torch.stack(states, dim=2), h, cell


def from_inputs(x: Sequences, W: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """Return W x + bias at each time, from one product."""
    all_times = torch.baddbmm(bias.unsqueeze(1), x.flatten(1, 2), W.mT)
    by_time: tuple[Tensor, ...] = all_times.unflatten(1, x.shape[1:3]).unbind(2)
    return by_time
