"""CP bilinear: the tensor of the full tier as a sum of R rank-one terms (its CP decomposition).

    h_t = A_x h_{t-1},    A_x = P diag(Sᵀx) Qᵀ

    P  (H, R)    Q  (H, R)    S  (D, R)    R(2H + D) weights

Sources:
    [1] Ebrahimi, Memisevic: Revisiting Bi-Linear State Transitions in Recurrent Neural Networks. NeurIPS 2025,
        arXiv 2505.21749, where it is called the factored model. The initial values, which give E|A_x h|² = |h|²,
        are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bilin.fields import option
from bilin.models.bilinear.bilinear import Bilinear, Embedding, Embeddings, Matrix, Transition, Weight, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class CP(Bilinear):
    """h_t = P diag(Sᵀx) Qᵀ h_{t-1}."""

    tier: ClassVar[str] = "cp"

    rank: int = option(at_least=1, doc="number R of rank-one terms")

    @property
    def weights(self) -> Mapping[str, Weight]:
        """P, Q and S. The initial scale is in S only, so that it is a factor on A_x."""
        return {
            "P": Weight((self.hidden, self.rank), std=self.rank**-0.5),
            "Q": Weight((self.hidden, self.rank), std=self.hidden**-0.5),
            "S": Weight((self.embedding, self.rank), std=self.init_scale * self.squared_length**-0.5),
        }

    def matrix(self, weights: Weights, x: Embedding) -> Matrix:
        """Return A_x = P diag(Sᵀx) Qᵀ."""
        return weights["P"] @ (weights["S"].T @ x).diag() @ weights["Q"].T

    def transition(self, weights: Weights, embeddings: Embeddings) -> Transition:
        """Return P (Sᵀx ∘ Qᵀh), with the diagonal Sᵀx of every token computed once."""
        import torch

        P, Q, diagonals = weights["P"], weights["Q"], embeddings @ weights["S"]
        return lambda rows, states: torch.bmm(torch.bmm(states, Q) * rows.take(diagonals), P.mT)

    def rows_multiple(self, batch_size: int) -> int:
        """See `Bilinear.rows_multiple`. The rows of a member are those of one matrix product."""
        from bilin.models.bilinear.matrices import LARGE, MULTIPLE, SUMMED_AT_ONCE

        is_large = self.hidden * self.rank >= LARGE**2 and batch_size <= SUMMED_AT_ONCE
        return MULTIPLE if is_large else batch_size
