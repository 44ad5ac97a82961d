"""Full bilinear: every pair of a state coordinate and an embedding coordinate has weights of its own.

    h_t = A_x h_{t-1},    (A_x)_ij = Σ_k W_ijk x_k

    W  (H, H, D)    H²D weights

It can simulate any finite state machine of at most H states: with one-hot states, A_x is the matrix of the
transition [1].

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749. The initial values, with which E|A_x h|² = |h|², are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bilin.models.bilinear.bilinear import Bilinear, Weight

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from bilin.models.bilinear.bilinear import Table, Weights
    from bilin.models.bilinear.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Full(Bilinear):
    """h_t = (W·x) h_{t-1}."""

    tier: ClassVar[str] = "full"

    @property
    def transition_params(self) -> int:
        """H²D."""
        return self.hidden**2 * self.embedding

    @property
    def weights(self) -> Mapping[str, Weight]:
        """W."""
        shape = (self.hidden, self.hidden, self.embedding)
        return {"W": Weight(shape, std=self.init_scale / (self.hidden * self.embedding) ** 0.5)}

    def matrix(self, weights: Weights, x: Float[Tensor, " embedding"]) -> Float[Tensor, "hidden hidden"]:
        """A_x = W·x."""
        return weights["W"] @ x

    def table(self, weights: Weights, embeddings: Float[Tensor, "vocab embedding"]) -> Table:
        """The matrices A_x, (V, 1, H, H): one block each."""
        H, D = self.hidden, self.embedding
        return ((embeddings @ weights["W"].view(H * H, D).T).view(-1, 1, H, H),)

    def step(self, table: Table, rows: Rows, states: Float[Tensor, "rows hidden"]) -> Float[Tensor, "rows hidden"]:
        """A_x h."""
        return rows.groups.multiply(table[0], states.unsqueeze(1)).squeeze(1)

    def transpose(self, table: Table) -> Table:
        """The matrices, each transposed."""
        return (table[0].mT,)
