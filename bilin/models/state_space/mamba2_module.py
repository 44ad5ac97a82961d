"""The module of Mamba-2: its layer, and the stack of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.layers import Layer, ShortConvolution, Stack
from bilin.models.module import State
from bilin.models.state_space.chunks import scan_in_chunks
from bilin.models.state_space.steps import initial_log_rates, initial_step_bias

if TYPE_CHECKING:
    from bilin.models.state_space.mamba2 import Mamba2


class Mamba2Layer(Layer):
    """See `bilin.models.state_space.mamba2` for the formula."""

    def __init__(self, tier: Mamba2) -> None:
        super().__init__()
        inner = tier.expand * tier.hidden
        mixed = inner + 2 * tier.state_size
        self.signed = tier.eigenvalues == "signed"
        self.heads, self.splits = tier.heads, (inner, mixed, tier.heads)
        self.mixed_splits = (inner, tier.state_size, tier.state_size)
        self.into = nn.Linear(tier.hidden, sum(self.splits), bias=False)
        self.convolution = ShortConvolution(mixed, tier.conv_size) if tier.conv_size else None
        self.step_bias = nn.Parameter(initial_step_bias(tier.heads))
        self.A_log = nn.Parameter(initial_log_rates(tier.heads))
        self.D = nn.Parameter(torch.ones(tier.heads))
        self.norm = nn.RMSNorm(inner, eps=1e-5)
        self.out = nn.Linear(inner, tier.hidden, bias=False)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`; the state is that of the convolution, and h as (batch, N, I)."""
        past, h = state or (None, None)
        gate, mixed, steps = self.into(x).split(self.splits, dim=-1)
        if self.convolution is not None:
            mixed, past = self.convolution(mixed, past)
        x, B, C = nn.functional.silu(mixed).split(self.mixed_splits, dim=-1)
        x = x.unflatten(2, (self.heads, -1))
        steps = nn.functional.softplus(steps + self.step_bias)
        decay = (-self.A_log.exp() * steps).exp()
        a = 2 * decay - 1 if self.signed else decay
        y, h = scan_in_chunks(steps[..., None] * x, a, B, C, h)
        y = (y + self.D[:, None] * x).flatten(2)
        added: Tensor = self.out(self.norm(y * nn.functional.silu(gate)))
        return added, (past, h)


class Mamba2Module(Stack):
    """A stack of `Mamba2Layer`s."""

    tokens_at_once: ClassVar[int] = 2**14

    def __init__(self, tier: Mamba2, *, vocab_size: int, num_classes: int) -> None:
        layers = [Mamba2Layer(tier) for _ in range(tier.layers)]
        super().__init__(layers, hidden=tier.hidden, vocab_size=vocab_size, num_classes=num_classes)
