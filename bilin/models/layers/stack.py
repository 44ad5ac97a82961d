"""Layers one on top of the other: the module of every tier that is built of blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bilin.models.module import SequenceModel, State


class Layer(nn.Module, ABC):
    """One layer: from a vector at each time to another of the same width, causally."""

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """What is added to x, and the state after the last token; a state of None is the beginning."""


def rms_norm(hidden: int) -> nn.Module:
    """The norm x / √(mean x² + 1e-5), times a weight for each number."""
    return nn.RMSNorm(hidden, eps=1e-5)


class Stack(SequenceModel):
    """Embedding, residual layers each behind a norm of its own, a last norm, readout without bias.

        x <- x + layer(norm(x))

    Shapes: embedding (V, H), readout (classes, H).
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        hidden: int,
        vocab_size: int,
        num_classes: int,
        norm: Callable[[int], nn.Module] = rms_norm,
    ) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(vocab_size, hidden))
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(norm(hidden) for _ in layers)
        self.last_norm = norm(hidden)
        self.readout = nn.Linear(hidden, num_classes, bias=False)

    def advance(
        self, tokens: Int[Tensor, "batch time"], state: State = None
    ) -> tuple[Float[Tensor, "batch time width"], State]:
        """See `SequenceModel.advance`; the state is that of every layer."""
        return self.through(self.embedding[tokens], state)

    def through(
        self, x: Float[Tensor, "batch time hidden"], state: State
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """All layers and the last norm, on what the embedding made of the tokens."""
        before = state or (None,) * len(self.layers)
        after = []
        for layer, norm, carried in zip(self.layers, self.norms, before, strict=True):
            added, carried = layer(norm(x), carried)
            x = x + added
            after.append(carried)
        return self.last_norm(x), tuple(after)
