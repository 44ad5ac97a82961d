"""Copying: repeat a sequence of letters after a separator.

The length L counts the letters, which are uniform and independent. Then comes the separator, token num_letters, and
then the letters again except the last one, each after it had to be predicted: 2L tokens. From the separator on, the
label is the next letter.

    num_letters = 26, letters a to z as 0 to 25, | as 26:
    a c b | a c -> b        after each token: - - - a c b

The model sees the correct letters so far, not its own predictions (teacher forcing), in training and in evaluation.
The loss is taken at every letter of the answer, whatever `train.supervision` says. In validation a sequence is
correct if its whole answer is. The source also asks for a token that ends the answer; here the last label is a letter
like the others, and chance is one in num_letters for each.

Source: Jelassi, Brandfonbrener, Kakade, Malach, "Repeat after me: transformers are better than state space models
at copying" (2024), arXiv 2402.01032, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.tasks.task import IGNORED, Batch, Generator, Numbers, Task, uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying(Task):
    """Independent and uniform letters, a separator, and the letters again."""

    name: ClassVar[str] = "copying"
    source: ClassVar[str] = "Jelassi, Brandfonbrener, Kakade, Malach 2024, arXiv 2402.01032"
    own_supervision: ClassVar[str | None] = "every_token"

    num_letters: int = option(26, at_least=2, doc="number of letters and of answers")

    @property
    def vocab_size(self) -> int:
        """The letters and the separator."""
        return self.num_letters + 1

    @property
    def num_classes(self) -> int:
        """One label per letter."""
        return self.num_letters

    def sample(self, lengths: Numbers, generator: Generator) -> Batch:
        """Draw one sequence of each length, in letters to copy."""
        import torch

        longest = int(lengths.max())
        letters = uniform(self.num_letters, len(lengths), longest, generator)
        times = torch.arange(2 * longest, device=letters.device).expand(len(lengths), -1)
        since = times - lengths[:, None]  # 0 at the separator, after which the first letter must be predicted
        answers = letters.gather(1, since.clamp(0, longest - 1))
        shown = letters.gather(1, torch.where(since < 0, times, since - 1).clamp(0, longest - 1))
        tokens = shown.masked_fill(since == 0, self.num_letters)
        return Batch.cut(tokens, answers.masked_fill(since < 0, IGNORED), 2 * lengths)
