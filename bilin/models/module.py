"""What a tier builds: a torch module from tokens to logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

State: TypeAlias = Any
"""What a model remembers of the tokens so far: tensors in nested tuples, or None at the beginning."""


class SequenceModel(nn.Module, ABC):
    """A causal sequence model: an embedding, a part that runs through time, and a readout.

    A subclass implements `advance` and sets `readout` in its constructor.

    Attributes:
        normalize: ``readout``, ``state`` or ``none``: how a scale-invariant tier keeps its state in range during
            training. In evaluation such a tier normalizes after every step.
        readout: Map from the features that `advance` returns to logits.
        tokens_at_once: Most tokens that an evaluation passes to the model in one call, which bounds its memory.
    """

    normalize: str = "none"
    readout: nn.Module
    tokens_at_once: int = 2**17

    outside_recurrence: ClassVar[tuple[str, ...]] = ("embedding", "positions", "initial", "readout")
    """Weights that do not count as recurrent."""

    @abstractmethod
    def advance(
        self, tokens: Int[Tensor, "batch time"], state: State = None
    ) -> tuple[Float[Tensor, "batch time width"], State]:
        """Process more tokens, starting from a state.

        Args:
            tokens: The next tokens of each sequence, the same number for all.
            state: State that the previous call returned; None at the beginning.

        Returns:
            The input of the readout after each token, and the state after the last token.
        """

    def forward(
        self, tokens: Int[Tensor, "batch time"], num_tokens: Int[Tensor, " batch"], *, every_token: bool = False
    ) -> Float[Tensor, "batch *time classes"]:
        """Return the logits after the last token of each sequence, or after every token.

        Args:
            tokens: Sequences, padded at the end; see `bilin.tasks.task.Batch`.
            num_tokens: Number of tokens of each sequence.
            every_token: Whether to return logits at every time; those in the padding are meaningless.
        """
        features, _ = self.advance(tokens)
        if not every_token:
            features = features[torch.arange(len(tokens), device=tokens.device), num_tokens - 1]
        logits: Tensor = self.readout(features)
        return logits

    @property
    def recurrent_params(self) -> int:
        """Number of trainable weights except the embedding, positions, initial state and readout."""
        inside = [w for name, w in self.named_parameters() if name.partition(".")[0] not in self.outside_recurrence]
        return sum(weight.numel() for weight in inside if weight.requires_grad)
