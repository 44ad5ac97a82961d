"""What a task is: settings, sizes, and batches drawn from a generator.

torch is imported where batches are drawn, so that a task's fields can be read without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import torch
    from jaxtyping import Int

IGNORED = -100
"""The target of a position without a label: padding, and tokens after which there is no value."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences of mixed lengths, padded at their end.

    Attributes:
        tokens: Token of each sequence and time, below ``vocab_size``; padding is token 0.
        targets: Label after each token, below ``num_classes``, or `IGNORED`; the one at a sequence's
            last token is its answer.
        num_tokens: Number of tokens of each sequence, at least 1.
    """

    tokens: Int[torch.Tensor, "batch time"]
    targets: Int[torch.Tensor, "batch time"]
    num_tokens: Int[torch.Tensor, " batch"]

    @classmethod
    def cut(
        cls,
        tokens: Int[torch.Tensor, "batch time"],
        targets: Int[torch.Tensor, "batch time"],
        num_tokens: Int[torch.Tensor, " batch"],
    ) -> Batch:
        """Sequences that were drawn at one length, each cut to its own."""
        import torch

        beyond = torch.arange(tokens.shape[1], device=tokens.device) >= num_tokens[:, None]
        return cls(tokens.masked_fill(beyond, 0), targets.masked_fill(beyond, IGNORED), num_tokens)

    def take(self, rows: Int[torch.Tensor, " rows"]) -> Batch:
        """Some of the sequences."""
        return Batch(self.tokens[rows], self.targets[rows], self.num_tokens[rows])

    @property
    def answers(self) -> Int[torch.Tensor, " batch"]:
        """The label after each sequence's last token."""
        return self.targets.gather(1, self.num_tokens[:, None] - 1).squeeze(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(ABC):
    """Settings of one task; subclasses add fields with `bilin.fields.option`.

    Attributes:
        name: That of its file, in the registry, in grids and in results.
        source: Where it comes from, in short: authors, year, where to find it.
        own_supervision: ``every_token`` for a task whose answer is more than one token: it is trained so whatever
            `train.supervision` says, and in validation a sequence is right when all its labels are told.
    """

    name: ClassVar[str]
    source: ClassVar[str] = ""
    own_supervision: ClassVar[str | None] = None

    def __init_subclass__(cls) -> None:
        if cls.own_supervision not in (None, "every_token"):
            raise TypeError(f"own_supervision is {cls.own_supervision!r}; accepted: 'every_token' or None")

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of different tokens."""

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """Number of different answers; chance is one in so many."""

    def problems(self) -> Mapping[str, str]:
        """Faults that only several fields together show: the field's name and what is accepted."""
        return {}

    @abstractmethod
    def sample(self, lengths: Int[torch.Tensor, " batch"], generator: torch.Generator) -> Batch:
        """Draw one sequence of each length.

        Args:
            lengths: In the task's own unit, at least 1; on the generator's device, where the batch comes to be.
            generator: The only source of randomness.
        """
