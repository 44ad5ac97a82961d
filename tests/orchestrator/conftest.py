"""Grids of tiny cells."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bilin.orchestrator.grid import Grid, parse_grid

TINY = """
name: tiny
tasks: [{{name: modular_addition, m: {m}}}]
models: [{{tier: real_diagonal, hidden: 4, embedding: 4}}]
train: {{steps: 20}}
validate: {{every: 10, lengths: [20], num_sequences: 16, mixed_lengths: false}}
test: {{lengths: {lengths}, num_sequences: 16}}
learning_rate: {rate}
seeds: {seeds}
"""


@pytest.fixture
def tiny() -> Callable[..., Grid]:
    """A grid of tiny cells; a trial of it takes some 30 ms."""

    def build(
        *, m: object = "[2, 3]", rate: str = "{choices: [1e-2, 1e-3]}", seeds: object = "[0]", lengths: str = "[10, 50]"
    ) -> Grid:
        return parse_grid(TINY.format(m=m, rate=rate, seeds=seeds, lengths=lengths))

    return build
