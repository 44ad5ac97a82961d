"""The module of the transformer: its two kinds of layers, and the stack that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bilin.models.attention.positions import linear_bias, rotate, sinusoid
from bilin.models.layers import Layer, Stack
from bilin.models.module import State

if TYPE_CHECKING:
    from bilin.models.attention.transformer import Transformer

STD = 0.02
"""Standard deviation of initial values."""

NUM_POSITIONS = 1024
"""Vectors in the table of learned positions, as in GPT-2."""


class Attention(Layer):
    """Causal attention of several heads; its state are the keys and values so far."""

    def __init__(self, tier: Transformer) -> None:
        super().__init__()
        self.heads, self.positions = tier.heads, tier.positions
        self.inputs = linear(tier.hidden, 3 * tier.hidden)
        self.output = linear(tier.hidden, tier.hidden, residual_layers=2 * tier.layers)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`."""
        q, k, v = self.inputs(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        start = state[0].shape[2] if state else 0
        if self.positions == "rope":
            q, k = rotate(q, start=start), rotate(k, start=start)
        if state:
            k, v = (torch.cat(both, dim=2) for both in zip(state, (k, v), strict=True))
        mask = self._mask(q, start)
        found = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.output(found.transpose(1, 2).flatten(2)), (k, v)

    def _mask(self, q: Tensor, start: int) -> Tensor | None:
        """What keeps a query from later keys; None where the kernel knows by itself."""
        if self.positions == "alibi":
            return linear_bias(q, start=start)
        if start == 0:
            return None
        return torch.ones(q.shape[2], start + q.shape[2], dtype=torch.bool, device=q.device).tril(start)


class Perceptron(Layer):
    """W_2 GELU(W_1 x): four times the width in between; it looks at each time by itself."""

    def __init__(self, tier: Transformer) -> None:
        super().__init__()
        self.inputs = linear(tier.hidden, 4 * tier.hidden)
        self.output = linear(4 * tier.hidden, tier.hidden, residual_layers=2 * tier.layers)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`; there is no state."""
        return self.output(nn.functional.gelu(self.inputs(x))), state


class TransformerModule(Stack):
    """Attention and perceptrons in turn.

    Shapes: embedding (V, H), positions (1024, H) where they are learned, readout (classes, H).
    """

    def __init__(self, tier: Transformer, *, vocab_size: int, num_classes: int) -> None:
        layers = [layer for _ in range(tier.layers) for layer in (Attention(tier), Perceptron(tier))]
        super().__init__(layers, hidden=tier.hidden, vocab_size=vocab_size, num_classes=num_classes, norm=nn.LayerNorm)
        with torch.no_grad():
            self.embedding.mul_(STD)
        self.sinusoidal = tier.positions == "sinusoidal"
        learned = tier.positions == "learned"
        self.positions = nn.Parameter(STD * torch.randn(NUM_POSITIONS, tier.hidden)) if learned else None

    def advance(
        self, tokens: Int[Tensor, "batch time"], state: State = None
    ) -> tuple[Float[Tensor, "batch time width"], State]:
        """See `SequenceModel.advance`; the state are the keys and values of every layer."""
        x = self.embedding[tokens]
        start = state[0][0].shape[2] if state else 0
        if self.sinusoidal:
            x = x + STD * sinusoid(x, start=start)
        if self.positions is not None:
            at = torch.arange(start, start + tokens.shape[1], device=tokens.device)
            x = x + self.positions[at.clamp(max=NUM_POSITIONS - 1)]
        return self.through(x, state)


def linear(inputs: int, outputs: int, *, residual_layers: int = 1) -> nn.Linear:
    """A linear map with GPT-2's initial values.

    Args:
        inputs: Width that it takes.
        outputs: Width that it gives.
        residual_layers: How many such maps write to the residual stream; 1 for one that does not.
    """
    made = nn.Linear(inputs, outputs)
    nn.init.normal_(made.weight, std=STD * residual_layers**-0.5)
    nn.init.zeros_(made.bias)
    return made
