"""The torch module of the recurrences that are also part of `torch.nn`, written so that they can be stacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bilin.models.layers import Linear, linear
from bilin.models.module import Features, State, Tokens, ZeroStateModel
from bilin.models.stacking import in_stack

if TYPE_CHECKING:
    from bilin.models.recurrent.elman import Elman
    from bilin.models.recurrent.lstm import LSTM

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

ATEN = torch.ops.aten

Inputs: TypeAlias = Float[Tensor, "members inputs width"]
Rows: TypeAlias = Int[Tensor, "members time batch"]
"""Which of the inputs each sequence gets at each time."""

States: TypeAlias = Float[Tensor, "members time batch hidden"]
Last: TypeAlias = Float[Tensor, "members batch hidden"]


class TorchRecurrence(ZeroStateModel):
    """An embedding, a recurrent network from a zero state, and a linear readout without bias.

    Shapes: embedding as in `ZeroStateModel`, readout (classes, H). The recurrent weights are those of a network of
    `torch.nn`, which only holds them; its initial values are multiplied by ``init_scale``.
    """

    def __init__(
        self, tier: Elman | LSTM, network: type[nn.RNN] | type[nn.LSTM], *, vocab_size: int, num_classes: int
    ) -> None:
        super().__init__(tier, vocab_size=vocab_size, width=tier.embedding)
        self.recurrence = network(tier.embedding, tier.hidden, num_layers=tier.layers, batch_first=True)
        with torch.no_grad():
            for weight in self.recurrence.parameters():
                weight.mul_(tier.init_scale)
        self.readout = Linear(tier.hidden, num_classes, bias=False)

    def read(self, tokens: Tokens, state: State) -> tuple[Features, State]:
        """See `ZeroStateModel.read`. The state is that of every layer: h, or h and c for the LSTM."""
        run = _run_lstm if isinstance(self.recurrence, nn.LSTM) else _run_elman
        hidden, ends = self.recurrence.hidden_size, []
        # What the first layer gets is computed once for each token of the vocabulary.
        rows: Tensor = tokens.T
        x: Tensor = self.embedding
        for layer in range(self.recurrence.num_layers):
            W, U, b, c = (getattr(self.recurrence, f"{name}_l{layer}") for name in WEIGHTS)
            zero = x.new_zeros(len(tokens), hidden)
            start = (zero,) * (2 if run is _run_lstm else 1) if state is None else state[layer]
            states, *end = in_stack(run, linear(x, W, b + c), rows, U, *start)
            ends.append(tuple(end))
            x = states.flatten(0, 1)
            rows = torch.arange(len(x), device=x.device).view(states.shape[:2])
        return states.transpose(0, 1), tuple(ends)


def _run_elman(inputs: Inputs, rows: Rows, U: Tensor, h: Last) -> tuple[States, Last]:
    """Return the states of h <- tanh(inputs + U h) at every time, and the last one."""
    states: Tensor = _Elman.apply(inputs.flatten(0, 1), _by_time(inputs, rows), U, h)  # type: ignore[no-untyped-call]
    return states.transpose(0, 1), states[-1]


def _run_lstm(inputs: Inputs, rows: Rows, U: Tensor, h: Last, c: Last) -> tuple[States, Last, Last]:
    """Return the states h at every time, and the last h and c. The gates are in the order i, f, g, o."""
    arguments = (inputs.flatten(0, 1), _by_time(inputs, rows), U, h, c)
    if torch.is_grad_enabled():
        states, c = _LSTM.apply(*arguments)  # type: ignore[no-untyped-call]
    else:
        states, cells, *_ = _lstm(*arguments, keep=False)
        states, c = states[1:], cells[-1]
    return states.transpose(0, 1), states[-1], c


def _by_time(inputs: Inputs, rows: Rows) -> Int[Tensor, "time members*batch"]:
    """Return the rows of each time, counted through the inputs of all members."""
    offsets = inputs.shape[1] * torch.arange(len(inputs), device=rows.device)
    return (rows.transpose(0, 1) + offsets[:, None]).flatten(1)


def _of_members(by_time: Float[Tensor, "time members batch width"]) -> Float[Tensor, "members rows width"]:
    return by_time.transpose(0, 1).flatten(1, 2)


class _Elman(torch.autograd.Function):
    """The loop over time. All tensors have the times as their first axis, and then the members."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, rows: Tensor, U: Tensor, h: Tensor) -> Tensor:
        states = inputs.new_empty(len(rows) + 1, *h.shape)
        states[0] = h
        before, *after = states.unbind(0)
        for now, then in zip(rows.unbind(0), after, strict=True):
            torch.index_select(inputs, 0, now, out=then.flatten(0, 1))
            then.baddbmm_(before, U.mT).tanh_()
            before = then
        ctx.save_for_backward(states, rows, U)
        ctx.num_inputs = len(inputs)
        return states[1:]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        states, rows, U = ctx.saved_tensors
        inner, h_grad = ATEN.tanh_backward(torch.ones_like(grad), states[1:]), torch.zeros_like(grad[0])
        for of_output, of_input in reversed(list(zip(grad.unbind(0), inner.unbind(0), strict=True))):
            of_input.mul_(h_grad.add_(of_output))
            torch.bmm(of_input, U, out=h_grad)
        U_grad = torch.bmm(_of_members(inner).mT, _of_members(states[:-1]))
        return _summed(inner, rows, ctx.num_inputs), None, U_grad, h_grad


def _summed(grads: Tensor, rows: Tensor, num_inputs: int) -> Float[Tensor, "inputs width"]:
    """Return the gradient of the inputs, from those of the rows at each time."""
    zeros = grads.new_zeros(num_inputs, grads.shape[-1])
    return zeros.index_add_(0, rows.flatten(), grads.flatten(0, 2))


def _lstm(
    inputs: Tensor, rows: Tensor, U: Tensor, h: Tensor, cell: Tensor, *, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return h and c before and after each token, the gates and tanh(c); if not ``keep``, the last ones but for h."""
    time, width = len(rows), h.shape[2]
    kept = time if keep else 1
    states, cells = inputs.new_empty(time + 1, *h.shape), inputs.new_empty(time + 1 if keep else 1, *h.shape)
    gates, squashed = inputs.new_empty(kept, *h.shape[:2], 4 * width), inputs.new_empty(kept, *h.shape)
    states[0], cells[0] = h, cell
    flat, i_and_f, o = gates.flatten(1, 2), gates[..., : 2 * width].unbind(0), gates[..., 3 * width :].unbind(0)
    i, f, g = (part.unbind(0) for part in gates[..., : 3 * width].chunk(3, dim=-1))
    all_gates, all_flat, tanh_c, c, outputs = (part.unbind(0) for part in (gates, flat, squashed, cells, states))
    for t, now in enumerate(rows.unbind(0)):
        k = t % kept
        torch.index_select(inputs, 0, now, out=all_flat[k])
        all_gates[k].baddbmm_(outputs[t], U.mT)
        i_and_f[k].sigmoid_()
        g[k].tanh_()
        o[k].sigmoid_()
        after = c[(t + 1) % len(c)]
        torch.mul(f[k], c[t % len(c)], out=after).addcmul_(i[k], g[k])
        torch.mul(o[k], torch.tanh(after, out=tanh_c[k]), out=outputs[t + 1])
    return states, cells, gates, squashed


class _LSTM(torch.autograd.Function):
    """The loop over time. All tensors have the times as their first axis, and then the members."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, rows: Tensor, U: Tensor, h: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        states, cells, gates, squashed = _lstm(inputs, rows, U, h, cell, keep=True)
        ctx.save_for_backward(states, cells, gates, squashed, rows, U)
        ctx.num_inputs = len(inputs)
        return states[1:], cells[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, cell_grad: Tensor) -> tuple[Tensor | None, ...]:
        states, cells, gates, squashed, rows, U = ctx.saved_tensors
        width = states.shape[-1]
        i, f, g, o = gates.chunk(4, dim=-1)
        # What c gets of the gradient of h; then what each gate gets of that of c, or of h for the last one.
        to_c = ATEN.tanh_backward(o, squashed).unbind(0)
        inner = ATEN.sigmoid_backward(torch.cat([g, cells[:-1], i, squashed], dim=-1), gates)
        ATEN.tanh_backward.grad_input(i, g, grad_input=inner[..., 2 * width : 3 * width])
        of_c, of_h = inner[..., : 3 * width].unflatten(-1, (3, width)).unbind(0), inner[..., 3 * width :].unbind(0)
        kept, now, of_output = f.unbind(0), inner.unbind(0), grad.unbind(0)
        h_grad, c_grad = torch.zeros_like(grad[0]), cell_grad.clone()
        for t in reversed(range(len(now))):
            h_grad += of_output[t]
            c_grad.addcmul_(h_grad, to_c[t])
            of_h[t].mul_(h_grad)
            of_c[t].mul_(c_grad.unsqueeze(-2))
            c_grad *= kept[t]
            torch.bmm(now[t], U, out=h_grad)
        U_grad = torch.bmm(_of_members(inner).mT, _of_members(states[:-1]))
        return _summed(inner, rows, ctx.num_inputs), None, U_grad, h_grad, c_grad
