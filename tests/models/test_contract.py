"""The contract of tiers, for every tier in the registry."""

from __future__ import annotations

from bilin.models import Tier
from bilin.testing import TierContract
from tests.models.variants import converged, variants


class TestTiers(TierContract):
    tiers = variants()

    def exact(self, tier: Tier) -> Tier:
        return converged(tier)
