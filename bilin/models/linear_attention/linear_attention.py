"""Settings shared by the tiers of linear attention: heads, short convolution, output gate, perceptrons, delta rule.

Symbols in this folder:

    H  width of the model               q, k, v, o  query, key, value and output of one head, d numbers each
    d  H / heads, width of a head       S  state of one head
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.fields import option
from bilin.models.tier import LayeredTier
from bilin.registry import load

if TYPE_CHECKING:
    from bilin.models.layers import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearAttention(LayeredTier):
    """Settings of every tier of linear attention."""

    heads: int = option(4, at_least=1, doc="number of heads; divides hidden")
    conv_size: int = option(0, at_least=0, doc="tokens in a short convolution of q, k and v; 0: no convolution")
    output_gate: bool = option(True, doc="multiply the output of a layer by a gate, SiLU of its input")
    mlp: bool = option(False, doc="add a SwiGLU perceptron, 8/3 as wide, after each layer")

    def problems(self) -> Mapping[str, str]:
        """See `Tier.problems`. Heads are equally wide."""
        return {"heads": f"a divisor of hidden ({self.hidden})"} if self.hidden % self.heads else {}

    def make_layers(self) -> Sequence[Layer]:
        """See `LayeredTier.make_layers`. A perceptron may follow each layer."""
        from bilin.models.layers import SwiGLU

        layers: list[Layer] = []
        for _ in range(self.layers):
            layers.append(load(self.layer_class)(self))
            if self.mlp:
                layers.append(SwiGLU(self.hidden))
        return layers


BETA_RANGE = "range of β: (0, 1) if positive, (0, 2) if signed"
"""Meaning of `eigenvalues` in these tiers: along k, I - β k kᵀ has the eigenvalue 1 - β."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaRule(LinearAttention):
    """Settings of every tier whose state is multiplied by I - β k kᵀ.

    Attributes:
        decays: Whether each token also multiplies the state by a factor α.
    """

    layer_class: ClassVar[str] = "bilin.models.linear_attention.modules:DeltaLayer"
    decays: ClassVar[bool] = False

    eigenvalues: str = option("positive", choices=("positive", "signed"), doc=BETA_RANGE)

    @property
    def version(self) -> int:
        """See `Tier.version`. In version 1, the initial exp(A_log) was uniform between 1 and 16, not 0 and 16."""
        return 2 if self.decays else 1

    @property
    def num_products(self) -> int:
        """Number of matrices I - β k kᵀ per token."""
        return 1
