from __future__ import annotations

import pytest

from bilin.results import SweepWriter


@pytest.fixture
def writer(store):
    with SweepWriter(store, "sweep") as writer:
        yield writer
