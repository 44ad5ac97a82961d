"""The layer of the mLSTM: two branches, of which one goes through the matrix memory and the other gates it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.layers import Layer
from bilin.models.module import State
from bilin.models.xlstm.gates import initial_bias, log_forget_gate
from bilin.models.xlstm.heads import HeadLinear, HeadNorm, small_std
from bilin.models.xlstm.matrix_memory import write_and_read
from bilin.models.xlstm.window import Window

if TYPE_CHECKING:
    from bilin.models.xlstm.mlstm import MLSTM


class MLSTMLayer(Layer):
    """The memory between its projections; its state is that of the window, and (C, n, m) of the memory.

    Shapes: inputs (2E, H), W_u over W_z; gates (2 heads, 3E), i before f; output (H, E).
    """

    def __init__(self, tier: MLSTM) -> None:
        super().__init__()
        inner = tier.expand * tier.hidden
        self.heads, self.head_width, self.forget_gate = tier.heads, inner // tier.heads, tier.forget_gate
        self.inputs = nn.Linear(tier.hidden, 2 * inner, bias=False)
        self.window = Window(inner, tier.conv_size)
        self.query, self.key, self.value = (
            HeadLinear(tier.heads, self.head_width, self.head_width, width=tier.hidden) for _ in range(3)
        )
        self.gates = nn.Linear(3 * inner, 2 * tier.heads)
        self.norm = HeadNorm(inner)
        self.skip = nn.Parameter(torch.ones(inner))
        self.output = nn.Linear(inner, tier.hidden, bias=False)
        self._draw(tier)

    def _draw(self, tier: MLSTM) -> None:
        nn.init.normal_(self.inputs.weight, std=small_std(tier.hidden))
        nn.init.normal_(self.output.weight, std=2 / tier.layers * tier.hidden**-0.5)
        nn.init.zeros_(self.gates.weight)
        with torch.no_grad():
            self.gates.bias[: tier.heads].normal_(std=0.1)
            self.gates.bias[tier.heads :] = initial_bias(torch.linspace(3, 6, tier.heads), tier.forget_gate)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`."""
        past, memory = state or (None, None)
        inner, gate = self.inputs(x).chunk(2, dim=-1)
        seen, past = self.window(inner, past)
        q, k, v = self.query(seen), self.key(seen), self.value(inner)
        together = torch.cat([part.transpose(1, 2).flatten(2) for part in (q, k, v)], dim=-1)
        i, f = self.gates(together).mT.split(self.heads, dim=1)
        log_f = log_forget_gate(f, self.forget_gate)
        h, memory = write_and_read(q, k * self.head_width**-0.5, v, i, log_f, memory)
        shown = self.norm(h.transpose(1, 2)) + self.skip * seen
        return self.output(shown * nn.functional.silu(gate)), (past, memory)
