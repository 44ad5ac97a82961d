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
        "bilin.models.attention.modules",
        "bilin.models.bilinear.matrices",
        "bilin.models.bilinear.recurrence",
        "bilin.models.fixed_point.modules",
        "bilin.models.fixed_point.solve",
        "bilin.models.linear_attention.modules",
        "bilin.models.recurrent.modules",
        "bilin.models.state_space.modules",
        "bilin.models.xlstm.modules",
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
