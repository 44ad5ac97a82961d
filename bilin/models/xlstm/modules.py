"""The torch layers of the xLSTM: the sLSTM and its perceptron, the mLSTM and its matrix memory.

    H  width of the model    E  expand · H    P  width of a head    i, f, z, o  gates, see `slstm` and `mlstm`

The mLSTM computes a chunk of many tokens at once. Written out, C_t = Σ_{s≤t} exp(b_t - b_s + log i_s) v_s k_sᵀ, where
b_t is the sum of log f up to t; n_t likewise. Within a chunk these sums are matrix products; the state is passed from
chunk to chunk. All are stored times e^(-m_t), with m_t = max(log f_t + m_{t-1}, log i_t)
= b_t + max(m_0, max_{s≤t} (log i_s - b_s)), as in the loop over time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from bilin.models.layers import GatedPerceptron, Hidden, Layer, Linear, ShortConvolution
from bilin.models.module import State
from bilin.models.pointwise import gelu, logsigmoid, sigmoid, silu

if TYPE_CHECKING:
    from bilin.models.xlstm.mlstm import MLSTM
    from bilin.models.xlstm.slstm import SLSTM

CHUNK = 64
"""Tokens in a chunk: the work within a chunk grows with its square, the number of steps falls with it."""

Memory: TypeAlias = tuple[
    Float[Tensor, "batch heads width width"], Float[Tensor, "batch heads width"], Float[Tensor, "batch heads"]
]
"""Cᵀ (keys by values) and n, both times e^(-m), and m."""

Vectors: TypeAlias = Float[Tensor, "batch heads time width"]
Gate: TypeAlias = Float[Tensor, "batch heads time"]


class SLSTMLayer(Layer):
    """The sLSTM cell after its window, and the norm of its heads.

    The state holds that of the window, and (h, c, n, m) of the cell, each (heads, batch, P).

    Shapes, with the last axis in the order i, f, z, o: recurrent (heads, P, 4P), bias (heads, 1, 4P).
    """

    undecayed = ("bias",)

    def __init__(self, tier: SLSTM, *, index: int) -> None:
        super().__init__()
        heads, width = tier.heads, tier.hidden // tier.heads
        self.forget_gate = tier.forget_gate
        self.window = Window(tier.hidden, tier.conv_size)
        self.from_window = HeadLinear(heads, width, 2 * width, width=tier.hidden)
        self.from_token = HeadLinear(heads, width, 2 * width, width=tier.hidden)
        self.recurrent = nn.Parameter(torch.zeros(heads, width, 4 * width))
        self.bias = nn.Parameter(torch.zeros(heads, 1, 4 * width))
        fall = torch.linspace(0, 1, width) ** (0.3 + 1.3 * index / max(1, tier.layers - 1))
        with torch.no_grad():
            self.bias[..., width : 2 * width] = initial_bias(5 - 12 * fall, tier.forget_gate)
        self.norm = HeadNorm(tier.hidden)

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """See `Layer.forward`."""
        past, cell = state or (None, None)
        windowed, past = self.window(x, past)
        gates = torch.cat([self.from_window(windowed), self.from_token(x)], dim=-1)
        gates = gates.transpose(0, 1) + self.bias.unsqueeze(2)  # heads, batch, time, 4P
        if cell is None:
            zero = x.new_zeros(self.recurrent.shape[0], len(x), self.recurrent.shape[1])
            cell = (zero, zero, zero, torch.full_like(zero, -torch.inf))
        outputs = []
        for now in gates.unbind(2):
            cell = self._step(now, *cell)
            outputs.append(cell[0])
        return self.norm(torch.stack(outputs).permute(2, 0, 1, 3)), (past, cell)

    def _step(self, gates: Tensor, h: Tensor, c: Tensor, n: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Process one token. m is a constant in the gradient, since h does not depend on it."""
        i, f, z, o = (gates + torch.bmm(h, self.recurrent)).chunk(4, dim=-1)
        kept = log_forget_gate(f, self.forget_gate) + m
        m = torch.maximum(kept, i).detach()
        keep, write = (kept - m).exp(), (i - m).exp()
        c, n = keep * c + write * z.tanh(), keep * n + write
        return sigmoid(o) * c / n, c, n, m


class SLSTMPerceptron(GatedPerceptron):
    """W_3 (GELU(W_1 x) ∘ W_2 x), of inner width F = ⌈4H / 3⌉."""

    def __init__(self, tier: SLSTM) -> None:
        super().__init__(tier.hidden, math.ceil(4 * tier.hidden / 3), gelu)
        nn.init.normal_(self.inputs.weight, std=small_std(tier.hidden))
        nn.init.normal_(self.output.weight, std=2 / tier.layers * tier.hidden**-0.5)


class MLSTMLayer(Layer):
    """The matrix memory between its projections. The state holds that of the window, and (C, n, m) of the memory.

    Shapes: inputs (2E, H), with W_u above W_z; gates (2 heads, 3E), i before f; output (H, E).
    """

    def __init__(self, tier: MLSTM) -> None:
        super().__init__()
        inner = tier.expand * tier.hidden
        self.heads, self.head_width, self.forget_gate = tier.heads, inner // tier.heads, tier.forget_gate
        self.inputs = Linear(tier.hidden, 2 * inner, bias=False)
        self.window = Window(inner, tier.conv_size)
        self.query, self.key, self.value = (
            HeadLinear(tier.heads, self.head_width, self.head_width, width=tier.hidden) for _ in range(3)
        )
        self.gates = Linear(3 * inner, 2 * tier.heads)
        self.norm = HeadNorm(inner)
        self.skip = nn.Parameter(torch.ones(inner))
        self.output = Linear(inner, tier.hidden, bias=False)
        nn.init.normal_(self.inputs.weight, std=small_std(tier.hidden))
        nn.init.normal_(self.output.weight, std=2 / tier.layers * tier.hidden**-0.5)
        nn.init.zeros_(self.gates.weight)
        with torch.no_grad():
            self.gates.bias[: tier.heads].normal_(std=0.1)
            self.gates.bias[tier.heads :] = initial_bias(torch.linspace(3, 6, tier.heads), tier.forget_gate)

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """See `Layer.forward`."""
        past, memory = state or (None, None)
        inner, gate = self.inputs(x).chunk(2, dim=-1)
        windowed, past = self.window(inner, past)
        q, k, v = self.query(windowed), self.key(windowed), self.value(inner)
        joined = torch.cat([part.transpose(1, 2).flatten(2) for part in (q, k, v)], dim=-1)
        i, f = self.gates(joined).mT.split(self.heads, dim=1)
        log_f = log_forget_gate(f, self.forget_gate)
        h, memory = write_and_read(q, k * self.head_width**-0.5, v, i, log_f, memory)
        outputs = self.norm(h.transpose(1, 2)) + self.skip * windowed
        return self.output(outputs * silu(gate)), (past, memory)


def write_and_read(
    q: Vectors, k: Vectors, v: Vectors, log_i: Gate, log_f: Gate, memory: Memory | None
) -> tuple[Vectors, Memory]:
    """Write values at scaled keys to a memory, or to an empty one.

    Returns:
        h = C q / max(|n·q|, 1) at each time, and the memory after the last token.
    """
    if memory is None:
        n = torch.zeros_like(q[:, :, 0])
        memory = (n.unsqueeze(-1) * n.unsqueeze(-2), n, torch.full_like(n[..., 0], -torch.inf))
    outputs = []
    for start in range(0, q.shape[2], CHUNK):
        now = slice(start, start + CHUNK)
        h, memory = _chunk(q[:, :, now], k[:, :, now], v[:, :, now], log_i[..., now], log_f[..., now], memory)
        outputs.append(h)
    return torch.cat(outputs, dim=2), memory


def _chunk(q: Tensor, k: Tensor, v: Tensor, log_i: Tensor, log_f: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
    """Process one chunk. Every m_t is a constant in the gradient, since no h depends on it."""
    C, n, m = memory
    decay = log_f.cumsum(-1)
    written = log_i - decay
    scale = (decay + torch.maximum(m.unsqueeze(-1), written.cummax(-1).values)).detach()
    faded = decay - scale
    kept = (faded + m.unsqueeze(-1)).exp().unsqueeze(-1)
    later = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).triu(1)
    weights = (faded.unsqueeze(-1) + written.unsqueeze(-2)).masked_fill(later, -torch.inf).exp()
    scores = weights * (q @ k.mT)
    read = scores @ v + kept * (q @ C)
    norm = scores.sum(-1, keepdim=True) + kept * (q @ n.unsqueeze(-1))
    h = read / torch.maximum(norm.abs(), (-scale).exp().unsqueeze(-1))
    keys = weights[..., -1, :, None] * k
    last = kept[..., -1, :]
    return h, (last.unsqueeze(-1) * C + keys.mT @ v, last * n + keys.sum(2), scale[..., -1])


class Window(Layer):
    """SiLU of a short convolution over time, or x itself for size 0."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.convolution = ShortConvolution(width, size) if size else None

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """Return the window at each time, and the state of the convolution."""
        if self.convolution is None:
            return x, None
        convolved, state = self.convolution(x, state)
        return silu(convolved), state


class HeadLinear(nn.Module):
    """y = W_h x for each head h: a block-diagonal map without bias.

    Shapes: weight (heads, P, outputs); initially N(0, 2 / (5 width)), as in the authors' code.
    """

    def __init__(self, heads: int, head_width: int, outputs: int, *, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(small_std(width) * torch.randn(heads, head_width, outputs))

    def forward(self, x: Hidden) -> Float[Tensor, "batch heads time outputs"]:
        """Apply the map of every head to its part of the width."""
        return torch.einsum("bthp,hpq->bhtq", x.unflatten(-1, (self.weight.shape[0], -1)), self.weight)


class HeadNorm(nn.Module):
    """Each head minus its mean, over its standard deviation, times a weight: a group norm with heads as groups.

    Shapes: weight (heads · P).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "batch time heads head_width"]) -> Hidden:
        """Normalize the heads and concatenate them."""
        return self.weight * layer_norm(x, x.shape[-1:]).flatten(-2)


def log_forget_gate(preactivation: Float[Tensor, "*shape"], kind: str) -> Float[Tensor, "*shape"]:
    """Return log f, for the activation ``sigmoid`` or ``exp`` of the forget gate."""
    return logsigmoid(preactivation) if kind == "sigmoid" else preactivation


def initial_bias(bias: Float[Tensor, "*shape"], kind: str) -> Float[Tensor, "*shape"]:
    """Return the bias with which a forget gate of either kind starts at σ(bias)."""
    return bias if kind == "sigmoid" else logsigmoid(bias)


def small_std(width: int) -> float:
    """Return the initial standard deviation of maps from a residual stream of a width (Nguyen, Salazar 2019)."""
    return math.sqrt(2 / (5 * width))
