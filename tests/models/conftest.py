"""Every tier at a small size; and the shapes of tensor functions are checked as they run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from jaxtyping import install_import_hook

from bilin.models import Tier
from bilin.models.bilinear.bilinear import Bilinear
from tests.models.variants import label, variants

install_import_hook(
    [
        "bilin.models.layers",
        "bilin.models.module",
        "bilin.models.bilinear.recurrence.groups",
        "bilin.models.bilinear.recurrence.matrices",
        "bilin.models.bilinear.recurrence.rows",
        "bilin.models.bilinear.recurrence.unroll",
        "bilin.models.bilinear.recurrence.recurrence",
        "bilin.models.bilinear.recurrence.naive",
        "bilin.models.attention",
        "bilin.models.recurrent.cell_module",
        "bilin.models.state_space.chunks",
        "bilin.models.state_space.mamba2_module",
        "bilin.models.state_space.mamba_module",
        "bilin.models.state_space.scan",
        "bilin.models.state_space.steps",
        "bilin.models.xlstm",
        "bilin.models.linear_attention.heads",
        "bilin.models.linear_attention.gla_module",
        "bilin.models.linear_attention.delta_module",
        "bilin.models.fixed_point.fixed_point_module",
        "bilin.models.fixed_point.fp_mamba_module",
        "bilin.models.fixed_point.mixers",
        "bilin.models.fixed_point.projection",
        "bilin.models.fixed_point.scan",
        "bilin.models.fixed_point.solve",
    ],
    "beartype.beartype",
)

VOCAB, CLASSES = 5, 4


@pytest.fixture(params=variants(), ids=label)
def tier(request: pytest.FixtureRequest) -> Tier:
    """Every tier in turn."""
    return request.param


@pytest.fixture(params=[tier for tier in variants() if isinstance(tier, Bilinear)], ids=label)
def bilinear_tier(request: pytest.FixtureRequest) -> Bilinear:
    """Every bilinear tier in turn."""
    return request.param


@pytest.fixture(params=[tier for tier in variants() if tier.scale_invariant], ids=label)
def scale_invariant_tier(request: pytest.FixtureRequest) -> Tier:
    """Every scale-invariant tier in turn."""
    return request.param


@pytest.fixture
def build() -> Callable[..., torch.nn.Module]:
    """Build a tier's module under a seed, in float64."""

    def build(tier: Tier, seed: int = 0) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return tier.build(vocab_size=VOCAB, num_classes=CLASSES).double()

    return build


@pytest.fixture
def draw() -> Callable[..., torch.Tensor]:
    """Draw tokens of a shape under a seed."""

    def draw(*shape: int, seed: int = 0) -> torch.Tensor:
        return torch.randint(VOCAB, shape, generator=torch.Generator().manual_seed(seed))

    return draw
