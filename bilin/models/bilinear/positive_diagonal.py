"""The positive diagonal tier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.models.bilinear.bilinear import Bilinear


@dataclass(frozen=True, slots=True, kw_only=True)
class PositiveDiagonal(Bilinear):
    """The positive diagonal tier."""

    tier: ClassVar[str] = "positive_diagonal"

    @property
    def transition_params(self) -> int:
        """H·D."""
        return self.hidden * self.embedding
