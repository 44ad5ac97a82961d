"""The block-diagonal tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.bilinear.bilinear import Bilinear


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDiagonal(Bilinear):
    """The block-diagonal tier."""

    tier: ClassVar[str] = "block_diagonal"

    block_size: int = option(at_least=1, doc="width of a block, b; divides hidden")

    def problems(self) -> Mapping[str, str]:
        """The block size must divide the hidden size."""
        if self.hidden % self.block_size:
            return {"block_size": f"a divisor of hidden ({self.hidden})"}
        return {}

    @property
    def transition_params(self) -> int:
        """b²·(H/b)·D."""
        return self.hidden * self.block_size * self.embedding
