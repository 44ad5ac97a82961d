"""Block-diagonal bilinear: H/b independent blocks, each a full bilinear map of b coordinates.

    h_t = A_x h_{t-1},    A_x = blockdiag(A_x¹, …, A_xᴴᐟᵇ),    (A_xʲ)_ik = Σ_d W_ikjd x_d

    b  block size
    W  (b, b, H/b, D)    b²·(H/b)·D weights

Block j consists of the coordinates j, H/b + j, 2H/b + j, … This is the same map as with neighbouring coordinates,
but the same row of all blocks is contiguous in memory.

It can simulate a finite state machine with at most b states. Block size 1 is `real_diagonal` [1].

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749. The initial values, which give E|A_x h|² = |h|², are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.bilinear.bilinear import Bilinear, Embedding, Embeddings, Matrix, Transition, Weight, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDiagonal(Bilinear):
    """h_t = blockdiag(W·x) h_{t-1}."""

    tier: ClassVar[str] = "block_diagonal"

    block_size: int = option(at_least=1, doc="width b of a block; divides hidden")

    def problems(self) -> Mapping[str, str]:
        """See `Tier.problems`. The block size must divide the hidden size."""
        problems = dict(Bilinear.problems(self))
        if self.hidden % self.block_size:
            problems["block_size"] = f"a divisor of hidden ({self.hidden})"
        return problems

    @property
    def weights(self) -> Mapping[str, Weight]:
        """W."""
        b = self.block_size
        shape = (b, b, self.hidden // b, self.embedding)
        return {"W": Weight(shape, std=self.init_scale / (b * self.squared_length) ** 0.5)}

    def matrix(self, weights: Weights, x: Embedding) -> Matrix:
        """Return the blocks on the diagonal of A_x."""
        b, num_blocks = self.block_size, self.hidden // self.block_size
        matrix = x.new_zeros(b, num_blocks, b, num_blocks)
        matrix.diagonal(dim1=1, dim2=3).copy_(weights["W"] @ x)
        return matrix.view(self.hidden, self.hidden)

    def transition(self, weights: Weights, embeddings: Embeddings) -> Transition:
        """Return the product of each block with its coordinates of the state."""
        from bilin.models.bilinear.matrices import multiply_blocks
        from bilin.models.layers import linear_of_members

        W = weights["W"]
        return multiply_blocks(linear_of_members(embeddings, W.flatten(1, 3)).unflatten(2, W.shape[1:-1]))
