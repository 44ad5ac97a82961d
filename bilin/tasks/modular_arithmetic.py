"""Modular arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.fields import option
from bilin.tasks.task import Batch, Task

if TYPE_CHECKING:
    import torch
    from jaxtyping import Int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModularArithmetic(Task):
    """Settings."""

    name: ClassVar[str] = "modular_arithmetic"

    m: int = option(at_least=2, doc="modulus: number of operands and of answers")

    @property
    def vocab_size(self) -> int:
        """The operands and three operators."""
        return self.m + 3

    @property
    def num_classes(self) -> int:
        """One answer a residue."""
        return self.m

    def sample(self, lengths: Int[torch.Tensor, " batch"], generator: torch.Generator) -> Batch:
        """Draw one sequence of each length, in operands."""
        raise NotImplementedError
