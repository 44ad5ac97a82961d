"""What the bilinear tiers have in common: the recurrence h_t = A_x h_{t-1}, where A_x depends on the token x alone."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bilin.fields import option
from bilin.models.tier import Tier

if TYPE_CHECKING:
    from bilin.models.module import SequenceModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Bilinear(Tier):
    """Settings of every bilinear tier."""

    additive: bool = option(False, doc="add the input and bias terms: h_t = A_x h_{t-1} + B x + c")

    @property
    def scale_invariant(self) -> bool:
        """Without additive terms the map is linear in the state, and the readout has no bias."""
        return not self.additive

    @property
    def recurrent_params(self) -> int:
        """Those of A_x, and of B and c where they are added."""
        return self.transition_params + (self.hidden * (self.embedding + 1) if self.additive else 0)

    @property
    @abstractmethod
    def transition_params(self) -> int:
        """Number of weights that A_x is made of."""

    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        """A module with fresh weights, drawn from torch's global generator."""
        from bilin.models.bilinear.recurrence import BilinearRecurrence

        return BilinearRecurrence(self, vocab_size=vocab_size, num_classes=num_classes)
