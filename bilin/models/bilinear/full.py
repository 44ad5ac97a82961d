"""Full bilinear: a separate weight for every pair of a state coordinate and an embedding coordinate.

    h_t = A_x h_{t-1},    (A_x)_ij = Σ_k W_ijk x_k

    W  (H, H, D)    H²D weights

It can simulate any finite state machine with at most H states: with one-hot states, A_x is the matrix of the
transition [1].

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749. The initial values, which give E|A_x h|² = |h|², are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bilin.models.bilinear.bilinear import Bilinear, Embedding, Embeddings, Matrix, Transition, Weight, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Full(Bilinear):
    """h_t = (W·x) h_{t-1}."""

    tier: ClassVar[str] = "full"

    @property
    def weights(self) -> Mapping[str, Weight]:
        """W."""
        shape = (self.hidden, self.hidden, self.embedding)
        return {"W": Weight(shape, std=self.init_scale / (self.hidden * self.squared_length) ** 0.5)}

    def matrix(self, weights: Weights, x: Embedding) -> Matrix:
        """Return A_x = W·x."""
        return weights["W"] @ x

    def transition(self, weights: Weights, embeddings: Embeddings) -> Transition:
        """Return A_x h, with the matrices of all tokens as one block each."""
        from bilin.models.bilinear.matrices import multiply_blocks
        from bilin.models.layers import linear_of_members

        matrices = linear_of_members(embeddings, weights["W"].flatten(1, 2))
        return multiply_blocks(matrices.unflatten(2, (self.hidden, self.hidden, 1)))
