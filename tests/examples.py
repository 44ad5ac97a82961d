"""How many examples the tests of random input draw: the same few in the suite, many others with each `make fuzz`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("BILIN_TEST_EXAMPLES", "1"))
"""How many times as many as in the suite."""


def examples(count: int, *, deadline_ms: int | None = None) -> settings:
    """Settings for a test that draws so many in the suite."""
    return settings(
        max_examples=count * FACTOR,
        deadline=deadline_ms,
        derandomize=FACTOR == 1,
        suppress_health_check=list(HealthCheck),
    )
