"""The rotation tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bilin.models.bilinear.bilinear import Bilinear


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation(Bilinear):
    """The rotation tier."""

    tier: ClassVar[str] = "rotation"

    def problems(self) -> Mapping[str, str]:
        """A rotation turns two coordinates."""
        return {"hidden": "an even number"} if self.hidden % 2 else {}

    @property
    def transition_params(self) -> int:
        """(H/2)·D."""
        return self.hidden // 2 * self.embedding
