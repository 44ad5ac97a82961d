"""The CP tier: a sum of R rank-one terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.bilinear.bilinear import Bilinear


@dataclass(frozen=True, slots=True, kw_only=True)
class CP(Bilinear):
    """The CP tier: a sum of R rank-one terms."""

    tier: ClassVar[str] = "cp"

    rank: int = option(at_least=1, doc="number of rank-one terms, R")

    @property
    def transition_params(self) -> int:
        """R(2H + D)."""
        return self.rank * (2 * self.hidden + self.embedding)
