"""The torch module of the transformer: attention, perceptron, and the encodings of positions without weights.

    H  width of the model    P  width of a head    q, k, v  queries, keys and values

Sources: see `bilin.models.attention.transformer`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from bilin.models.layers import Hidden, Layer, Linear, Stack
from bilin.models.module import Features, State, Tokens
from bilin.models.pointwise import gelu
from bilin.models.stacking import in_stack, look_up

if TYPE_CHECKING:
    from bilin.models.attention.transformer import Transformer

STD = 0.02
"""Standard deviation of initial values."""

NUM_POSITIONS = 1024
"""Vectors in the table of learned positions, as in GPT-2."""


class TransformerStack(Stack):
    """Attention and perceptrons in turn, with positions added to the embedding where the tier says so.

    Shapes: embedding as in `ZeroStateModel`, positions (1024, H) where they are learned, readout (classes, H).
    """

    def __init__(self, tier: Transformer, *, vocab_size: int, num_classes: int) -> None:
        super().__init__(tier, vocab_size=vocab_size, num_classes=num_classes)
        with torch.no_grad():
            self.embedding.mul_(STD)
        self.sinusoidal = tier.positions == "sinusoidal"
        learned = tier.positions == "learned"
        self.positions = nn.Parameter(STD * torch.randn(NUM_POSITIONS, tier.hidden)) if learned else None

    def read(self, tokens: Tokens, state: State) -> tuple[Features, State]:
        """See `ZeroStateModel.read`. The state holds the keys and values of every attention layer."""
        x = look_up(self.embedding, tokens)
        start = state[0][0].shape[2] if state else 0
        if self.sinusoidal:
            x = x + STD * sinusoid(x, start=start)
        if self.positions is not None:
            times = torch.arange(start, start + tokens.shape[1], device=tokens.device)
            x = x + self.positions.index_select(0, times.clamp(max=NUM_POSITIONS - 1))
        return self.through(x, state)


class Attention(Layer):
    """Causal attention with several heads. The state holds the keys and values so far."""

    def __init__(self, tier: Transformer) -> None:
        super().__init__()
        self.heads, self.positions = tier.heads, tier.positions
        self.inputs = linear(tier.hidden, 3 * tier.hidden)
        self.output = linear(tier.hidden, tier.hidden, residual_layers=2 * tier.layers)

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """See `Layer.forward`."""
        q, k, v = self.inputs(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        start = state[0].shape[2] if state else 0
        if self.positions == "rope":
            q, k = rotate(q, start=start), rotate(k, start=start)
        if state:
            k, v = torch.cat([state[0], k], dim=2), torch.cat([state[1], v], dim=2)
        (read,) = in_stack(partial(_attend, mask=self._mask(q, start)), q, k, v)
        return self.output(read.transpose(1, 2).flatten(2)), (k, v)

    def _mask(self, q: Tensor, start: int) -> Tensor | None:
        """Return the mask that hides later keys from a query; None where the kernel's own causal mask will do."""
        if self.positions == "alibi":
            return linear_bias(q, start=start)
        if start == 0:
            return None
        return torch.ones(q.shape[2], start + q.shape[2], dtype=torch.bool, device=q.device).tril(start)


def _attend(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None) -> tuple[Tensor]:
    """Attend in the sequences of all members, the first axis."""
    queries, keys, values = (part.flatten(0, 1) for part in (q, k, v))
    read = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, is_causal=mask is None)
    return (read.view(q.shape),)


class Perceptron(Layer):
    """W_2 GELU(W_1 x), of inner width 4H."""

    def __init__(self, tier: Transformer) -> None:
        super().__init__()
        self.inputs = linear(tier.hidden, 4 * tier.hidden)
        self.output = linear(4 * tier.hidden, tier.hidden, residual_layers=2 * tier.layers)

    def forward(self, x: Hidden, state: State = None) -> tuple[Hidden, State]:
        """See `Layer.forward`. There is no state."""
        return self.output(gelu(self.inputs(x))), state


def linear(inputs: int, outputs: int, *, residual_layers: int = 1) -> nn.Linear:
    """Return a linear map with GPT-2's initial values, as one of ``residual_layers`` maps to the residual stream."""
    layer = Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=STD * residual_layers**-0.5)
    nn.init.zeros_(layer.bias)
    return layer


def angles(x: Float[Tensor, "*rest time width"], *, start: int) -> Float[Tensor, "time pairs"]:
    """Return the position, from ``start`` on, times 10,000^(-2j/width) for each pair j of the coordinates of x."""
    time, width = x.shape[-2:]
    positions = torch.arange(start, start + time, device=x.device, dtype=x.dtype)
    frequencies = 1e4 ** (-torch.arange(0, width, 2, device=x.device, dtype=x.dtype) / width)
    return positions[:, None] * frequencies


def sinusoid(x: Float[Tensor, "batch time width"], *, start: int) -> Float[Tensor, "time width"]:
    """Return sine and cosine of each angle in turn (Vaswani et al. 2017, section 3.5), cut to an odd width."""
    turns = angles(x, start=start)
    return torch.stack([turns.sin(), turns.cos()], dim=-1).flatten(1)[:, : x.shape[-1]]


def rotate(x: Float[Tensor, "batch heads time width"], *, start: int) -> Float[Tensor, "batch heads time width"]:
    """Rotate each pair of neighbouring coordinates by its angle (Su et al. 2021, eq. 34); the width is even."""
    turns = angles(x, start=start)
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(turns), turns)).flatten(-2)


def linear_bias(q: Float[Tensor, "batch heads time width"], *, start: int) -> Float[Tensor, "1 heads time keys"]:
    """Return the bias on the scores (Press et al. 2022): -slope · distance, and -∞ for later keys.

    Queries begin at position ``start``, keys at 0; both end with the last query. Without the first axis, torch would
    not use its fast kernel on the CPU.
    """
    heads, time = q.shape[1:3]
    keys = torch.arange(start + time, device=q.device, dtype=q.dtype)
    distance = keys[start:, None] - keys
    slopes = 2.0 ** (-8 / heads * torch.arange(1, heads + 1, device=q.device, dtype=q.dtype))
    return torch.where(distance < 0, -torch.inf, -slopes[:, None, None] * distance).unsqueeze(0)
