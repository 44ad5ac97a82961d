"""The full bilinear tier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.models.bilinear.bilinear import Bilinear


@dataclass(frozen=True, slots=True, kw_only=True)
class Full(Bilinear):
    """The full bilinear tier."""

    tier: ClassVar[str] = "full"

    @property
    def transition_params(self) -> int:
        """H²D."""
        return self.hidden**2 * self.embedding
