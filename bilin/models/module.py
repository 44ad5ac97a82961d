"""What a built tier is: a torch module from tokens to logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

State: TypeAlias = Any
"""What a model knows of the tokens so far: tensors in nested tuples, or None for nothing."""


class SequenceModel(nn.Module, ABC):
    """A causal model of sequences: an embedding, something that goes through time, and a readout.

    A subclass defines `advance`, and `readout` in its constructor.

    Attributes:
        normalize: ``readout``, ``state`` or ``none``: how a scale-invariant tier keeps its state's size
            while it trains; in evaluation such a tier always normalises after each step.
        readout: From what `advance` returns to logits.
        tokens_at_once: An evaluation runs the model on so many tokens at most at a time, which bounds its memory.
    """

    normalize: str = "none"
    readout: nn.Module
    tokens_at_once: ClassVar[int] = 2**17

    @abstractmethod
    def advance(
        self, tokens: Int[Tensor, "batch time"], state: State = None
    ) -> tuple[Float[Tensor, "batch time width"], State]:
        """Go on from a state, over sequences of one length.

        Args:
            tokens: What comes next of each sequence.
            state: What the call before returned; None at the beginning.

        Returns:
            What the readout sees after each token, and the state after the last one.
        """

    def forward(
        self, tokens: Int[Tensor, "batch time"], num_tokens: Int[Tensor, " batch"], *, every_token: bool = False
    ) -> Float[Tensor, "batch *time classes"]:
        """Logits after each sequence's last token, or after every token.

        Args:
            tokens: Padded at the end; see `bilin.tasks.task.Batch`.
            num_tokens: Number of tokens of each sequence.
            every_token: Whether to return the logits at all times; those in the padding mean nothing.
        """
        features, _ = self.advance(tokens)
        if not every_token:
            features = features[torch.arange(len(tokens), device=tokens.device), num_tokens - 1]
        logits: Tensor = self.readout(features)
        return logits

    @property
    def recurrent_params(self) -> int:
        """Number of trainable weights but those of the embedding, positions, the initial state and the readout."""
        outside = ("embedding", "positions", "initial", "readout")
        inside = [weight for name, weight in self.named_parameters() if name.partition(".")[0] not in outside]
        return sum(weight.numel() for weight in inside if weight.requires_grad)
