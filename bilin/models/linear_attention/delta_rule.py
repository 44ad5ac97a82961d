"""What the tiers of the delta rule share: how many products a token, whether they decay, and the range of β."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bilin.fields import option
from bilin.models.linear_attention.linear_attention import LinearAttention

if TYPE_CHECKING:
    from bilin.models.layers import Layer

BETA_RANGE = "range of β: (0, 1), or (0, 2) where signed"
"""What `eigenvalues` sets in these tiers: along k, I - β k kᵀ has the eigenvalue 1 - β."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaRule(LinearAttention):
    """Settings of every tier whose state goes through I - β k kᵀ."""

    eigenvalues: str = option("positive", choices=("positive", "signed"), doc=BETA_RANGE)

    @property
    def num_products(self) -> int:
        """How many matrices I - β k kᵀ a token multiplies the state with."""
        return 1

    @property
    def decays(self) -> bool:
        """Whether each token also multiplies the state by a factor α."""
        return False

    def layer(self) -> Layer:
        """One layer with fresh weights."""
        from bilin.models.linear_attention.delta_module import DeltaLayer

        return DeltaLayer(self)
