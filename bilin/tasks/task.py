"""What a task is: settings, sizes, and batches drawn from a generator.

torch is imported only where batches are drawn, so that the fields of a task can be read without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

if TYPE_CHECKING:
    import torch
    from jaxtyping import Int

# In quotes, so that tasks can use them without torch.
Generator: TypeAlias = "torch.Generator"
Numbers: TypeAlias = "Int[torch.Tensor, ' numbers']"
Sequences: TypeAlias = "Int[torch.Tensor, 'batch time']"

IGNORED = -100
"""Target of a position without a label: padding, and tokens after which there is no value."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Sequences of mixed lengths, padded at the end.

    Attributes:
        tokens: Token of each sequence and time, below ``vocab_size``; padding is token 0.
        targets: Label after each token, below ``num_classes``, or `IGNORED`. The label after the last token of a
            sequence is its answer.
        num_tokens: Number of tokens of each sequence, at least 1.
    """

    tokens: Sequences
    targets: Sequences
    num_tokens: Numbers

    @classmethod
    def cut(cls, tokens: Sequences, targets: Sequences, num_tokens: Numbers) -> Batch:
        """Cut sequences that were drawn at one length, each to its own length."""
        import torch

        beyond = torch.arange(tokens.shape[1], device=tokens.device) >= num_tokens[:, None]
        return cls(tokens.masked_fill(beyond, 0), targets.masked_fill(beyond, IGNORED), num_tokens)

    def take(self, rows: Int[torch.Tensor, " rows"]) -> Batch:
        """Return some of the sequences."""
        return Batch(self.tokens[rows], self.targets[rows], self.num_tokens[rows])

    @property
    def answers(self) -> Numbers:
        """The label after the last token of each sequence."""
        return self.targets.gather(1, self.num_tokens[:, None] - 1).squeeze(1)


def uniform(below: int, num_sequences: int, length: int, generator: Generator) -> Sequences:
    """Draw independent and uniform whole numbers from 0 on, on the device of the generator."""
    import torch

    return torch.randint(below, (num_sequences, length), generator=generator, device=generator.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(ABC):
    """Settings of one task. Subclasses add fields with `bilin.fields.option`.

    Attributes:
        name: Name of the task: that of its file, in the registry, in grids and in results.
        source: Short reference: authors, year, where to find it.
        own_supervision: ``every_token`` for a task whose answer has more than one token. It is trained on every label
            whatever `train.supervision` says, and in validation a sequence is correct if all its labels are.
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
        """Number of different labels; chance is one in this number."""

    @property
    def version(self) -> int:
        """Version of what these settings draw, a part of ids above 1. Increase it when the sequences change."""
        return 1

    def problems(self) -> Mapping[str, str]:
        """Return faults in combinations of fields: the name of a field, and what it accepts."""
        return {}

    @abstractmethod
    def sample(self, lengths: Numbers, generator: Generator) -> Batch:
        """Draw one sequence of each length.

        Args:
            lengths: Lengths in the task's own unit, at least 1, on the device of the generator. The batch is made
                on that device.
            generator: The only source of randomness.
        """
