"""Modular addition: the sum of the tokens modulo m; parity is m = 2.

    m = 5:   3 4 1 -> 3        after each token: 3 2 3
    m = 2:   1 0 1 1 -> 1      after each token: 1 1 0 1

Chance is 1/m: the last token alone makes all answers equally frequent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.tasks.task import Batch, Generator, Numbers, Task, uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class ModularAddition(Task):
    """Tokens 0 to m - 1, independent and uniform; the answer is their sum modulo m."""

    name: ClassVar[str] = "modular_addition"
    source: ClassVar[str] = "Ebrahimi, Memisevic 2025, arXiv 2505.21749"

    m: int = option(at_least=2, doc="modulus: number of tokens and of answers")

    @property
    def vocab_size(self) -> int:
        """One token per residue."""
        return self.m

    @property
    def num_classes(self) -> int:
        """One label per residue."""
        return self.m

    def sample(self, lengths: Numbers, generator: Generator) -> Batch:
        """Draw one sequence of each length, in tokens."""
        tokens = uniform(self.m, len(lengths), int(lengths.max()), generator)
        return Batch.cut(tokens, tokens.cumsum(1) % self.m, lengths)
