"""What every tier of linear attention has: heads, a short convolution, an output gate, perceptrons.

Symbols, in this folder:

    H  width of the model               q, k, v, o  query, key, value and output of one head, d numbers each
    d  H / heads, width of a head       S  state of one head
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bilin.fields import option
from bilin.models.tier import Tier

if TYPE_CHECKING:
    from bilin.models.layers import Layer
    from bilin.models.module import SequenceModel


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearAttention(Tier):
    """Settings of every tier of linear attention."""

    layers: int = option(1, at_least=1, doc="layers, one on top of the other")
    heads: int = option(4, at_least=1, doc="heads; divides hidden")
    conv_size: int = option(0, at_least=0, doc="tokens that a short convolution of q, k and v sees; 0: none")
    output_gate: bool = option(True, doc="multiply what a layer reads by a gate, SiLU of its input")
    mlp: bool = option(False, doc="a SwiGLU perceptron, 8/3 as wide, after each layer")

    def problems(self) -> Mapping[str, str]:
        """Heads share the width evenly."""
        return {"heads": f"a divisor of hidden ({self.hidden})"} if self.hidden % self.heads else {}

    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        """A module with fresh weights, drawn from torch's global generator."""
        from bilin.models.layers import Stack, SwiGLU

        layers = []
        for _ in range(self.layers):
            layers += [self.layer(), SwiGLU(self.hidden)] if self.mlp else [self.layer()]
        return Stack(layers, hidden=self.hidden, vocab_size=vocab_size, num_classes=num_classes)

    @abstractmethod
    def layer(self) -> Layer:
        """One layer with fresh weights."""
