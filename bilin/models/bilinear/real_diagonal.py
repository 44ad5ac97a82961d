"""The real diagonal tier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.models.bilinear.bilinear import Bilinear


@dataclass(frozen=True, slots=True, kw_only=True)
class RealDiagonal(Bilinear):
    """The real diagonal tier."""

    tier: ClassVar[str] = "real_diagonal"

    @property
    def transition_params(self) -> int:
        """H·D."""
        return self.hidden * self.embedding
