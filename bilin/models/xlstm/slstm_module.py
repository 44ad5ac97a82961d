"""The layers of the sLSTM: the cell in its heads, and the perceptron after it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.layers import Layer
from bilin.models.module import State
from bilin.models.xlstm.gates import initial_bias, log_forget_gate
from bilin.models.xlstm.heads import HeadLinear, HeadNorm, small_std
from bilin.models.xlstm.window import Window

if TYPE_CHECKING:
    from bilin.models.xlstm.slstm import SLSTM


class SLSTMLayer(Layer):
    """The cell behind its window, and the norm of its heads.

    Its state is that of the window, and (h, c, n, m) of the cell, each (heads, batch, P).

    Shapes, the last axis in the order i, f, z, o: recurrent (heads, P, 4P), bias (heads, 1, 4P).
    """

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

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`."""
        past, cell = state or (None, None)
        seen, past = self.window(x, past)
        raw = torch.cat([self.from_window(seen), self.from_token(x)], dim=-1).transpose(0, 1) + self.bias.unsqueeze(2)
        if cell is None:
            zero = x.new_zeros(self.recurrent.shape[0], len(x), self.recurrent.shape[1])
            cell = (zero, zero, zero, torch.full_like(zero, -torch.inf))
        shown = []
        for now in raw.unbind(2):
            cell = self._step(now, *cell)
            shown.append(cell[0])
        return self.norm(torch.stack(shown).permute(2, 0, 1, 3)), (past, cell)

    def _step(self, raw: Tensor, h: Tensor, c: Tensor, n: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One token. m is taken as a constant, since h does not depend on it."""
        i, f, z, o = torch.baddbmm(raw, h, self.recurrent).chunk(4, dim=-1)
        kept = log_forget_gate(f, self.forget_gate) + m
        m = torch.maximum(kept, i).detach()
        keep, write = (kept - m).exp(), (i - m).exp()
        c, n = keep * c + write * z.tanh(), keep * n + write
        return o.sigmoid() * c / n, c, n, m


class GatedPerceptron(Layer):
    """W_3 (GELU(W_1 x) ∘ W_2 x), of 4/3 the width in between; it looks at each time by itself."""

    def __init__(self, tier: SLSTM) -> None:
        super().__init__()
        inner = math.ceil(4 * tier.hidden / 3)
        self.inputs = nn.Linear(tier.hidden, 2 * inner, bias=False)
        self.output = nn.Linear(inner, tier.hidden, bias=False)
        nn.init.normal_(self.inputs.weight, std=small_std(tier.hidden))
        nn.init.normal_(self.output.weight, std=2 / tier.layers * tier.hidden**-0.5)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`; there is no state."""
        gate, value = self.inputs(x).chunk(2, dim=-1)
        return self.output(nn.functional.gelu(gate) * value), state
