"""The torch module of the recurrences that are also part of `torch.nn`, written so that they can be stacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.ops import aten

from bilin.models.layers import Linear, linear
from bilin.models.module import Features, SequenceModel, State, Tokens
from bilin.models.stacking import in_stack, look_up

if TYPE_CHECKING:
    from bilin.models.recurrent.elman import Elman
    from bilin.models.recurrent.lstm import LSTM

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

Inputs: TypeAlias = Float[Tensor, "members time batch inputs"]
States: TypeAlias = Float[Tensor, "members time batch hidden"]
Last: TypeAlias = Float[Tensor, "members batch hidden"]


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
        is_lstm, hidden = isinstance(self.recurrence, nn.LSTM), self.recurrence.hidden_size
        x, ends = None, []
        for layer in range(self.recurrence.num_layers):
            W, U, b, c = (getattr(self.recurrence, f"{name}_l{layer}") for name in WEIGHTS)
            # What the first layer gets is computed once for each token of the vocabulary.
            inputs = linear(self.embedding if x is None else x, W, b + c)
            if x is None:
                inputs = look_up(inputs, tokens.T)
            zero = inputs.new_zeros(len(tokens), hidden)
            start = ((zero, zero) if is_lstm else (zero,)) if state is None else state[layer]
            x, *end = in_stack(lstm if is_lstm else elman, inputs, U, *start)
            ends.append(tuple(end))
        assert x is not None
        return x.transpose(0, 1), tuple(ends)


def elman(inputs: Inputs, U: Tensor, h: Last) -> tuple[States, Last]:
    """Return the states of h <- tanh(inputs + U h) at every time, and the last one."""
    states: Tensor = _Elman.apply(inputs, U, h)  # type: ignore[no-untyped-call]
    return states, states[:, -1]


def lstm(inputs: Inputs, U: Tensor, h: Last, c: Last) -> tuple[States, Last, Last]:
    """Return the states h at every time, and the last h and c. The gates are in the order i, f, g, o."""
    states, c = _LSTM.apply(inputs, U, h, c)  # type: ignore[no-untyped-call]
    return states, states[:, -1], c


class _Elman(torch.autograd.Function):
    """The loop over time, (members, time, batch, H), of what the inputs give."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, U: Tensor, h: Tensor) -> Tensor:
        states = inputs.new_empty(inputs.shape[0], inputs.shape[1] + 1, *inputs.shape[2:])
        states[:, 0] = h
        before, *after = states.unbind(1)
        for now, then in zip(inputs.unbind(1), after, strict=True):
            torch.baddbmm(now, before, U.mT, out=then).tanh_()
            before = then
        ctx.save_for_backward(states, U)
        return states[:, 1:]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states, U = ctx.saved_tensors
        slopes = torch.addcmul(torch.ones_like(grad), states[:, 1:], states[:, 1:], value=-1)
        inner, state_grad = torch.empty_like(grad), torch.zeros_like(grad[:, 0])
        times = zip(grad.unbind(1), slopes.unbind(1), inner.unbind(1), strict=True)
        for of_output, slope, of_inner in reversed(list(times)):
            torch.mul(state_grad.add_(of_output), slope, out=of_inner)
            torch.bmm(of_inner, U, out=state_grad)
        return inner, torch.bmm(inner.flatten(1, 2).mT, states[:, :-1].flatten(1, 2)), state_grad


class _LSTM(torch.autograd.Function):
    """The loop over time, (members, time, batch, 4H), of what the inputs give for the gates."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, U: Tensor, h: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        members, time, batch, width = (*inputs.shape[:3], h.shape[2])
        states, cells = (inputs.new_empty(members, time + 1, batch, width) for _ in range(2))
        gates, squashed = torch.empty_like(inputs), inputs.new_empty(members, time, batch, width)
        states[:, 0], cells[:, 0] = h, cell
        i_and_f, o = gates[..., : 2 * width].unbind(1), gates[..., 3 * width :].unbind(1)
        i, f, g = (part.unbind(1) for part in gates[..., : 3 * width].chunk(3, dim=-1))
        h, c, now = states.unbind(1), cells.unbind(1), gates.unbind(1)
        for t, (of_input, tanh_c) in enumerate(zip(inputs.unbind(1), squashed.unbind(1), strict=True)):
            torch.baddbmm(of_input, h[t], U.mT, out=now[t])
            i_and_f[t].sigmoid_()
            g[t].tanh_()
            o[t].sigmoid_()
            torch.mul(f[t], c[t], out=c[t + 1]).addcmul_(i[t], g[t])
            torch.mul(o[t], torch.tanh(c[t + 1], out=tanh_c), out=h[t + 1])
        ctx.save_for_backward(states, cells, gates, squashed, U)
        return states[:, 1:], c[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, cell_grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        states, cells, gates, squashed, U = ctx.saved_tensors
        width = states.shape[3]
        i, f, g, o = gates.chunk(4, dim=-1)
        # What c gets of the gradient of h; then what each gate gets of that of c, or of h for the last one.
        to_c = aten.tanh_backward(o, squashed).unbind(1)
        inner = aten.sigmoid_backward(torch.cat([g, cells[:, :-1], i, squashed], dim=-1), gates)
        aten.tanh_backward.grad_input(i, g, grad_input=inner[..., 2 * width : 3 * width])
        of_c, of_h = inner[..., : 3 * width].unflatten(-1, (3, width)).unbind(1), inner[..., 3 * width :].unbind(1)
        kept, c_grad, now = f.unbind(1), cell_grad.clone(), inner.unbind(1)
        h_grad = torch.zeros_like(grad[:, 0])
        of_output = grad.unbind(1)
        for t in reversed(range(len(now))):
            h_grad += of_output[t]
            c_grad.addcmul_(h_grad, to_c[t])
            of_h[t].mul_(h_grad)
            of_c[t].mul_(c_grad.unsqueeze(-2))
            c_grad *= kept[t]
            torch.bmm(now[t], U, out=h_grad)
        return inner, torch.bmm(inner.flatten(1, 2).mT, states[:, :-1].flatten(1, 2)), h_grad, c_grad
