"""Contracts of tiers and tasks as pytest classes, for the authors of plugins and for bilin itself.

    class TestLeakyUnits(TierContract):
        tiers = [LeakyUnits(hidden=8), LeakyUnits(hidden=8, leak=1.0)]

Needs pytest, which bilin itself does not install. Nothing else in bilin imports this package.
"""

import pytest

pytest.register_assert_rewrite("bilin.testing.tiers", "bilin.testing.tasks")

from bilin.testing.tasks import TaskContract as TaskContract  # noqa: E402 (after the assertions are registered)
from bilin.testing.tiers import TierContract as TierContract  # noqa: E402
