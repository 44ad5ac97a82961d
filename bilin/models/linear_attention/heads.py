"""What stands before and after the recurrence of every layer of linear attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.layers import ShortConvolution

if TYPE_CHECKING:
    from bilin.models.linear_attention.linear_attention import LinearAttention


class HeadInputs(nn.Module):
    """Queries, keys and values of all heads: a linear map of x, then the short convolution where there is one.

    Shapes: ``projection.weight`` (vectors·H, H): that of the query first, then those of the keys, then those of
    the values, each with one head after the other.
    """

    def __init__(self, tier: LinearAttention, *, vectors: int) -> None:
        super().__init__()
        width = vectors * tier.hidden
        self.shape = (vectors, tier.heads, tier.hidden // tier.heads)
        self.projection = nn.Linear(tier.hidden, width, bias=False)
        self.convolution = ShortConvolution(width, tier.conv_size, bias=False) if tier.conv_size else None

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: Float[Tensor, "batch past channels"] | None
    ) -> tuple[Float[Tensor, "batch time vectors heads size"], Float[Tensor, "batch past channels"] | None]:
        """The vectors, and the state of the convolution."""
        projected = self.projection(x)
        if self.convolution is not None:
            projected, state = self.convolution(projected, state)
        return projected.unflatten(-1, self.shape), state


class HeadOutputs(nn.Module):
    """W_o concat_h( RMSNorm(o_h) ∘ SiLU(W_g x)_h ), or without the gate; all heads share the norm's weights.

    Shapes: ``norm.weight`` (d), ``gate.weight`` and ``projection.weight`` (H, H).
    """

    def __init__(self, tier: LinearAttention) -> None:
        super().__init__()
        hidden = tier.hidden
        self.norm = nn.RMSNorm(hidden // tier.heads, eps=1e-5)
        self.gate = nn.Linear(hidden, hidden, bias=False) if tier.output_gate else None
        self.projection = nn.Linear(hidden, hidden, bias=False)

    def forward(
        self, read: Float[Tensor, "batch time heads size"], x: Float[Tensor, "batch time hidden"]
    ) -> Float[Tensor, "batch time hidden"]:
        """What the layer adds, from what its heads read and from its input."""
        outputs = self.norm(read).flatten(-2)
        if self.gate is not None:
            outputs = outputs * nn.functional.silu(self.gate(x))
        added: Tensor = self.projection(outputs)
        return added
