"""The module of Mamba: its layer, and the stack of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.layers import Layer, ShortConvolution, Stack
from bilin.models.module import State
from bilin.models.state_space.scan import selective_scan
from bilin.models.state_space.steps import initial_step_bias

if TYPE_CHECKING:
    from bilin.models.state_space.mamba import Mamba


class MambaLayer(Layer):
    """See `bilin.models.state_space.mamba` for the formula; A_log is stored as (N, I)."""

    def __init__(self, tier: Mamba) -> None:
        super().__init__()
        inner, rank = tier.expand * tier.hidden, tier.steps_rank
        self.signed = tier.eigenvalues == "signed"
        self.splits = (rank, tier.state_size, tier.state_size)
        self.into = nn.Linear(tier.hidden, 2 * inner, bias=False)
        self.convolution = ShortConvolution(inner, tier.conv_size) if tier.conv_size else None
        self.selection = nn.Linear(inner, sum(self.splits), bias=False)
        self.steps = nn.Linear(rank, inner)
        nn.init.uniform_(self.steps.weight, -(rank**-0.5), rank**-0.5)
        self.steps.bias = nn.Parameter(initial_step_bias(inner))
        self.A_log = nn.Parameter(torch.arange(1.0, tier.state_size + 1).log()[:, None].repeat(1, inner))
        self.D = nn.Parameter(torch.ones(inner))
        self.out = nn.Linear(inner, tier.hidden, bias=False)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`; the state is that of the convolution, and h as (batch, N, I)."""
        past, h = state or (None, None)
        x, gate = self.into(x).chunk(2, dim=-1)
        if self.convolution is not None:
            x, past = self.convolution(x, past)
        x = nn.functional.silu(x)
        ranks, B, C = self.selection(x).split(self.splits, dim=-1)
        steps = nn.functional.softplus(self.steps(ranks))
        y, h = selective_scan(steps * x, steps, -self.A_log.exp(), B, C, h, signed=self.signed)
        added: Tensor = self.out((y + self.D * x) * nn.functional.silu(gate))
        return added, (past, h)


class MambaModule(Stack):
    """A stack of `MambaLayer`s."""

    tokens_at_once: ClassVar[int] = 2**14

    def __init__(self, tier: Mamba, *, vocab_size: int, num_classes: int) -> None:
        layers = [MambaLayer(tier) for _ in range(tier.layers)]
        super().__init__(layers, hidden=tier.hidden, vocab_size=vocab_size, num_classes=num_classes)
