"""The tests that `bilin models check` runs, on the settings that it has given to the contract."""

from bilin.testing import TierContract


class TestTier(TierContract):
    """The contract, with its settings."""
