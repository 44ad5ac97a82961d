"""Modular arithmetic: operands alternating with the operators + - *, without brackets, modulo m.

The operators apply from left to right, with * binding no more tightly than + and -; with ``precedence``, every * comes
first. The length counts operands: length L has 2L - 1 tokens. Tokens 0 to m - 1 are the operands, m is +, m + 1 is -,
m + 2 is *.

    m = 5:   3 + 4 * 2 -> 4     tokens 3 5 4 7 2, after each operand: 3 2 4; with precedence: 3 2 1
    m = 3:   1 - 2 -> 2         tokens 1 4 2, after each operand: 1 2

After an operator there is no label. The answer 0 is the most frequent, since one factor of 0 makes the value 0 (with
precedence: that of its term). Chance, one in m, is what a guess that ignores the frequencies achieves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.tasks.task import IGNORED, Batch, Generator, Numbers, Sequences, Task, uniform

_PLUS, _MINUS, _TIMES = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModularArithmetic(Task):
    """Operands and operators are independent and uniform; the answer is the value of the expression modulo m."""

    name: ClassVar[str] = "modular_arithmetic"
    source: ClassVar[str] = "Ebrahimi, Memisevic 2025, arXiv 2505.21749"

    m: int = option(at_least=2, doc="modulus: number of operands and of answers")
    precedence: bool = option(False, doc="let * bind more tightly than + and -", before=False)

    @property
    def vocab_size(self) -> int:
        """The operands and the three operators."""
        return self.m + 3

    @property
    def num_classes(self) -> int:
        """One label per residue."""
        return self.m

    def sample(self, lengths: Numbers, generator: Generator) -> Batch:
        """Draw one sequence of each length, in operands."""
        longest = int(lengths.max())
        operands = uniform(self.m, len(lengths), longest, generator)
        operators = uniform(3, len(lengths), longest - 1, generator)
        tokens = operands.new_empty(len(lengths), 2 * longest - 1)
        tokens[:, 0::2], tokens[:, 1::2] = operands, operators + self.m
        targets = tokens.new_full(tokens.shape, IGNORED)
        values = self._by_precedence if self.precedence else self._from_left
        targets[:, 0::2] = values(operands, operators)
        return Batch.cut(tokens, targets, 2 * lengths - 1)

    def _from_left(self, operands: Sequences, operators: Sequences) -> Sequences:
        """Return the value after each operand; an operator with its operand is a map v -> factor·v + summand."""
        values = operands.clone()
        right = operands[:, 1:]
        factors = right.where(operators == _TIMES, 1)
        summands = right.where(operators == _PLUS, (-right).where(operators == _MINUS, 0))
        for time in range(right.shape[1]):
            values[:, time + 1] = (values[:, time] * factors[:, time] + summands[:, time]) % self.m
        return values

    def _by_precedence(self, operands: Sequences, operators: Sequences) -> Sequences:
        """Return the value after each operand: the sum of the complete terms, and the last term so far."""
        values = operands.clone()
        right, continues = operands[:, 1:], operators == _TIMES
        signed = right.where(operators != _MINUS, -right)
        term, before = operands[:, 0], operands.new_zeros(len(operands))
        for time in range(right.shape[1]):
            before = before.where(continues[:, time], before + term)
            term = signed[:, time] * term.where(continues[:, time], 1) % self.m
            values[:, time + 1] = (before + term) % self.m
        return values
