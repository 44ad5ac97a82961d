"""What the selective state spaces share: layers of many channels behind a short convolution, and the decay's range."""

from __future__ import annotations

from dataclasses import dataclass

from bilin.fields import option
from bilin.models.tier import Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Selective(Tier):
    """Settings of both."""

    layers: int = option(2, at_least=1, doc="layers, one on top of the other")
    expand: int = option(2, at_least=1, doc="channels of a layer, as a multiple of hidden")
    conv_size: int = option(4, at_least=0, doc="tokens that the short convolution sees; 0: none")
    eigenvalues: str = option(
        "positive", choices=("positive", "signed"), doc="range of the decay: (0, 1), or (-1, 1) where signed"
    )
