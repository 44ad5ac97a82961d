"""Block-diagonal bilinear: H/b independent blocks, each a full bilinear map of b coordinates.

    h_t = A_x h_{t-1},    A_x = blockdiag(A_x¹, …, A_xᴴᐟᵇ),    (A_xʲ)_ik = Σ_d W_ikjd x_d

    b  block size
    W  (b, b, H/b, D)    b²·(H/b)·D weights

Block j consists of the coordinates j, H/b + j, 2H/b + j, …: the same map as with neighbouring coordinates,
and one row of all blocks lies in one piece.

It can simulate a finite state machine of at most b states; block size 1 is `real_diagonal` [1].

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749. The initial values, with which E|A_x h|² = |h|², are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.fields import option
from bilin.models.bilinear.bilinear import Bilinear, Weight

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from bilin.models.bilinear.bilinear import Transition, Weights
    from bilin.models.bilinear.recurrence.rows import Rows

_LARGE = 32
"""From this block size on, multiplying the rows of one token together is faster than copying its blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockDiagonal(Bilinear):
    """h_t = blockdiag(W·x) h_{t-1}."""

    tier: ClassVar[str] = "block_diagonal"

    block_size: int = option(at_least=1, doc="width of a block, b; divides hidden")

    def problems(self) -> Mapping[str, str]:
        """The block size must divide the hidden size."""
        problems = dict(Bilinear.problems(self))
        if self.hidden % self.block_size:
            problems["block_size"] = f"a divisor of hidden ({self.hidden})"
        return problems

    @property
    def weights(self) -> Mapping[str, Weight]:
        """W."""
        b = self.block_size
        shape = (b, b, self.hidden // b, self.embedding)
        return {"W": Weight(shape, std=self.init_scale / (b * self.embedding) ** 0.5)}

    def matrix(self, weights: Weights, x: Float[Tensor, " embedding"]) -> Float[Tensor, "hidden hidden"]:
        """The blocks in their places."""
        b, num_blocks = self.block_size, self.hidden // self.block_size
        matrix = x.new_zeros(b, num_blocks, b, num_blocks)
        matrix.diagonal(dim1=1, dim2=3).copy_(weights["W"] @ x)
        return matrix.view(self.hidden, self.hidden)

    def transition(self, weights: Weights, embeddings: Float[Tensor, "vocab embedding"]) -> Transition:
        """Each block times its part of the state."""
        W, b = weights["W"], self.block_size
        blocks = (embeddings @ W.view(-1, self.embedding).T).view(-1, *W.shape[:-1])
        return _in_groups(blocks, b) if b >= _LARGE else _row_by_row(blocks, b)


def _row_by_row(blocks: Float[Tensor, "vocab out into blocks"], b: int) -> Transition:
    def step(rows: Rows, states: Tensor) -> Tensor:
        parts = states.view(len(states), 1, b, -1)
        return (blocks.index_select(0, rows.tokens) * parts).sum(2).view(states.shape)

    return step


def _in_groups(blocks: Float[Tensor, "vocab out into blocks"], b: int) -> Transition:
    from bilin.models.bilinear.recurrence.matrices import Matrices

    matrices = Matrices(blocks.movedim(3, 1).contiguous())

    def step(rows: Rows, states: Tensor) -> Tensor:
        parts = states.view(len(states), b, -1).mT
        return matrices.multiply(rows, parts).mT.reshape(states.shape)

    return step
