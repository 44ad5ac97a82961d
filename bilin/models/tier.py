"""What a tier is: a frozen dataclass of settings that builds a torch module.

A tier's file holds its settings, its formula and its sources. It can be read without importing torch; the torch
modules of a family are beside it in `modules.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from bilin.fields import option
from bilin.registry import load

if TYPE_CHECKING:
    from bilin.models.layers import Layer
    from bilin.models.module import SequenceModel

Layers: TypeAlias = "Sequence[Layer]"
"""`bilin.models.layers.Layer` objects, in order."""

Module: TypeAlias = "SequenceModel"
"""`bilin.models.module.SequenceModel`; settings can name it without torch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier(ABC):
    """Settings that every tier has. Subclasses add fields with `bilin.fields.option`.

    Attributes:
        tier: Name of the tier: that of its file, in the registry, in grids and in results.
        source: Short reference: authors, year, where to find it.
    """

    tier: ClassVar[str]
    source: ClassVar[str] = ""

    hidden: int = option(256, at_least=1, doc="width H of the state, or of the residual stream in layered tiers")

    freeze: str = option(
        "none",
        choices=("none", "recurrent"),
        before="none",
        doc="weights that keep their initial values; recurrent: all except the readout",
    )

    @property
    def scale_invariant(self) -> bool:
        """Whether multiplying the state by a positive factor leaves every prediction unchanged."""
        return False

    @property
    def version(self) -> int:
        """Version of what these settings compute, a part of ids above 1. Increase it when the numbers change."""
        return 1

    def problems(self) -> Mapping[str, str]:
        """Return faults in combinations of fields: the name of a field, and what it accepts."""
        return {}

    def unfit(self, vocab_size: int) -> str:  # noqa: ARG002 (for subclasses)
        """Return why these settings cannot take a task of so many tokens, and what they accept; empty if they can."""
        return ""

    @abstractmethod
    def build(self, *, vocab_size: int, num_classes: int) -> Module:
        """Return a module with fresh weights, drawn from torch's global generator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroStateTier(Tier):
    """Settings of a tier whose state starts at 0 (`bilin.models.module.ZeroStateModel`)."""

    start_token: bool = option(
        False,
        before=False,
        doc="read a token of its own before each sequence, which sets the state from which it starts",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LayeredTier(ZeroStateTier):
    """Settings of a tier that is a stack of residual layers (`bilin.models.layers.Stack`).

    Attributes:
        norm: Normalization in front of each layer and of the readout.
        layer_class: Place of the torch module of a layer, as ``bilin.models.state_space.modules:MambaLayer``. It is
            built from the settings. A tier without one implements `make_layers`.
    """

    norm: ClassVar[Literal["rms", "layer"]] = "rms"
    layer_class: ClassVar[str]

    layers: int = option(1, at_least=1, doc="number of layers")

    def __init_subclass__(cls) -> None:
        if "tier" in vars(cls) and cls.make_layers is LayeredTier.make_layers and not hasattr(cls, "layer_class"):
            raise TypeError(f"{cls.__name__} has no layers; accepted: layer_class or make_layers")

    def make_layers(self) -> Layers:
        """Return the layers in order, with fresh weights."""
        return [load(self.layer_class)(self) for _ in range(self.layers)]

    def build(self, *, vocab_size: int, num_classes: int) -> Module:
        """See `Tier.build`."""
        from bilin.models.layers import Stack

        return Stack(self, vocab_size=vocab_size, num_classes=num_classes)
