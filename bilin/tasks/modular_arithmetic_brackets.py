"""Modular arithmetic with brackets: the value of a fully bracketed expression modulo m.

The length L counts the tokens of the expression. Token L + 1 is =, and the only label, the value, follows it. An
expression of length L is drawn as follows:

    L = 1 to 4    n, -n, (n) or (-n), the operand n uniform
    L >= 5        (left op right), op uniform among + - *, the length of left uniform from 1 to L - 4, and right of
                  the remaining length

    m = 5:   ((2*3)-(-4)) -> 0       m = 5:   -3 -> 2

Tokens 0 to m - 1 are the operands, followed by + - * ( ) = in this order. The answer 0 is the most frequent, since one
factor of 0 makes a product 0. Chance, one in m, is what a guess that ignores the frequencies achieves.

Source: Delétang et al., "Neural networks and the Chomsky hierarchy" (2023), arXiv 2207.02098, with multiplication as
in Beck et al., "xLSTM" (2024), arXiv 2405.04517. Lengths in the latter, and in the papers that follow it, also count
=, the answer and a padding token: their 3 to 40 are 2 to 37 here, since the shortest of them is 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.tasks.task import IGNORED, Batch, Generator, Numbers, Task

_MINUS, _OPEN, _CLOSE, _EQUALS = 1, 3, 4, 5
"""Tokens after the operands; the operators + - * are 0, 1 and 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModularArithmeticBrackets(Task):
    """Operands and operators are independent and uniform; the answer after = is the value modulo m."""

    name: ClassVar[str] = "modular_arithmetic_brackets"
    source: ClassVar[str] = "Delétang et al. 2023, arXiv 2207.02098"

    m: int = option(5, at_least=2, doc="modulus: number of operands and of answers")

    @property
    def vocab_size(self) -> int:
        """The operands, the three operators, two brackets and the equals sign."""
        return self.m + 6

    @property
    def num_classes(self) -> int:
        """One label per residue."""
        return self.m

    def sample(self, lengths: Numbers, generator: Generator) -> Batch:
        """Draw one sequence of each length, in tokens before the equals sign."""
        import torch

        shape = (len(lengths), int(lengths.max()) + 1)
        starts = torch.arange(shape[0], device=lengths.device) * shape[1]
        tokens = lengths.new_zeros(shape).flatten()
        values = self._write(tokens, starts, lengths, generator)
        tokens[starts + lengths] = self.m + _EQUALS
        targets = torch.full_like(tokens, IGNORED)
        targets[starts + lengths] = values
        return Batch.cut(tokens.view(shape), targets.view(shape), lengths + 1)

    def _write(self, tokens: Numbers, starts: Numbers, lengths: Numbers, generator: Generator) -> Numbers:
        """Draw expressions of given lengths, write them from their starts on, and return their values.

        All expressions of one depth are drawn at once; each recursive call goes one level deeper.
        """
        import torch

        bracketed, is_inner = lengths > 2, lengths > 4
        tokens[starts[bracketed]] = self.m + _OPEN
        tokens[(starts + lengths - 1)[bracketed]] = self.m + _CLOSE
        first, negative = (starts + bracketed)[~is_inner], lengths[~is_inner] % 2 == 0
        operands = torch.randint(self.m, first.shape, generator=generator, device=first.device)
        tokens[first[negative]] = self.m + _MINUS
        tokens[first + negative] = operands
        values = torch.empty_like(lengths)
        values[~is_inner] = operands.where(~negative, -operands) % self.m
        if is_inner.any():
            values[is_inner] = self._write_operations(tokens, starts[is_inner] + 1, lengths[is_inner] - 2, generator)
        return values

    def _write_operations(self, tokens: Numbers, starts: Numbers, lengths: Numbers, generator: Generator) -> Numbers:
        """Draw left op right, at least three tokens, and return the values."""
        import torch

        operators = torch.randint(3, starts.shape, generator=generator, device=starts.device)
        shares = torch.rand(starts.shape, generator=generator, device=starts.device, dtype=torch.float64)
        before = 1 + (shares * (lengths - 2)).long()
        tokens[starts + before] = self.m + operators
        parts = torch.cat((starts, starts + before + 1)), torch.cat((before, lengths - before - 1))
        left, right = self._write(tokens, *parts, generator).chunk(2)
        return torch.stack((left + right, left - right, left * right)).gather(0, operators[None])[0] % self.m
