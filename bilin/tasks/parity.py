"""Parity: whether the number of ones so far is odd.

    1 0 1 1 -> 1        after each token: 1 1 0 1

The same as `modular_addition` with m = 2. Chance is 1/2: the last token alone makes both answers equally frequent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.tasks.modular_addition import ModularAddition
from bilin.tasks.task import Batch, Generator, Numbers, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity(Task):
    """Tokens 0 and 1, independent and uniform; the answer is 1 if the number of ones is odd."""

    name: ClassVar[str] = "parity"
    source: ClassVar[str] = "Delétang et al. 2023, arXiv 2207.02098"

    @property
    def vocab_size(self) -> int:
        """The two bits."""
        return 2

    @property
    def num_classes(self) -> int:
        """Even and odd."""
        return 2

    def sample(self, lengths: Numbers, generator: Generator) -> Batch:
        """Draw one sequence of each length, in tokens."""
        return ModularAddition(m=2).sample(lengths, generator)
