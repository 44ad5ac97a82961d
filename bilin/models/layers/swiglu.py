"""A gated perceptron, which looks at each time by itself."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from bilin.models.layers.stack import Layer
from bilin.models.module import State


class SwiGLU(Layer):
    """W_o (SiLU(W_g x) ∘ W_v x), 8/3 as wide in between, without biases (Shazeer 2020, arXiv 2002.05202).

    Shapes: ``inputs.weight`` (2F, H), which is W_g above W_v, ``output.weight`` (H, F); F = ⌊8H/3⌋.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        width = 8 * hidden // 3
        self.inputs = nn.Linear(hidden, 2 * width, bias=False)
        self.output = nn.Linear(width, hidden, bias=False)

    def forward(
        self, x: Float[Tensor, "batch time hidden"], state: State = None
    ) -> tuple[Float[Tensor, "batch time hidden"], State]:
        """See `Layer.forward`; there is no state."""
        gate, value = self.inputs(x).chunk(2, dim=-1)
        return self.output(nn.functional.silu(gate) * value), state
