"""What the gates see: the last few tokens, or the token alone."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.layers import Layer, ShortConvolution
from bilin.models.module import State


class Window(Layer):
    """SiLU of a short convolution over time, or x as it is where its size is 0."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.convolution = ShortConvolution(width, size) if size else None

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """The window at each time, and the inputs from which the next call goes on."""
        if self.convolution is None:
            return x, None
        seen, state = self.convolution(x, state)
        return nn.functional.silu(seen), state
