"""What a built tier is: a torch module from tokens to logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


class SequenceModel(nn.Module, ABC):
    """A model of sequences.

    Attributes:
        normalize: ``readout``, ``state`` or ``none``: how a scale-invariant tier keeps its state's size
            while it trains; in evaluation such a tier always normalises after each step.
    """

    normalize: str = "none"

    @abstractmethod
    def forward(
        self, tokens: Int[Tensor, "batch time"], num_tokens: Int[Tensor, " batch"], *, every_token: bool = False
    ) -> Float[Tensor, "batch *time classes"]:
        """Logits after each sequence's last token, or after every token.

        Args:
            tokens: Padded at the end; see `bilin.tasks.task.Batch`.
            num_tokens: Number of tokens of each sequence.
            every_token: Whether to return the logits at all times; those in the padding mean nothing.
        """
