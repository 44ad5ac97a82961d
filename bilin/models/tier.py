"""What a tier is: settings that build a module.

A tier's file holds its settings, its formula and its source, and can be read without importing torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.fields import option

if TYPE_CHECKING:
    from bilin.models.module import SequenceModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier(ABC):
    """Settings that every tier has; subclasses add fields with `bilin.fields.option`.

    Attributes:
        tier: Its name: that of its file, in the registry, in grids and in results.
        source: Where it comes from, in short: authors, year, where to find it.
    """

    tier: ClassVar[str]
    source: ClassVar[str] = ""

    hidden: int = option(256, at_least=1, doc="width of the state, H; of the model, where there are blocks")

    freeze: str = option(
        "none",
        choices=("none", "recurrent"),
        before="none",
        doc="which weights keep their initial values: recurrent, all but those of the readout",
    )

    @property
    def scale_invariant(self) -> bool:
        """Whether a positive factor on the state leaves the predictions as they are."""
        return False

    def problems(self) -> Mapping[str, str]:
        """Faults that only several fields together show: the field's name and what is accepted."""
        return {}

    @abstractmethod
    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        """A module with fresh weights, drawn from torch's global generator."""
