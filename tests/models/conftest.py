"""Small tiers, their modules, and tokens. The shapes of tensor functions are checked as they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest
import torch
from jaxtyping import install_import_hook

from bilin.models import Tier
from bilin.models.bilinear.bilinear import Bilinear
from tests.models.variants import variants

if TYPE_CHECKING:
    from bilin.models.module import SequenceModel

install_import_hook(
    [
        "bilin.models.layers",
        "bilin.models.module",
        "bilin.models.attention.modules",
        "bilin.models.bilinear.layout",
        "bilin.models.bilinear.matrices",
        "bilin.models.bilinear.recurrence",
        "bilin.models.fixed_point.modules",
        "bilin.models.linear_attention.modules",
        "bilin.models.recurrent.modules",
        "bilin.models.state_space.modules",
        "bilin.models.xlstm.modules",
    ],
    "beartype.beartype",
)

from bilin.testing.tiers import build, draw, label  # noqa: E402 (its imports are checked too)


@pytest.fixture(params=[tier for tier in variants() if isinstance(tier, Bilinear)], ids=label)
def bilinear_tier(request: pytest.FixtureRequest) -> Bilinear:
    """Every bilinear tier in turn."""
    return cast(Bilinear, request.param)


@pytest.fixture(params=[tier for tier in variants() if tier.scale_invariant], ids=label)
def scale_invariant_tier(request: pytest.FixtureRequest) -> Tier:
    """Every scale-invariant tier in turn."""
    return cast(Tier, request.param)


@pytest.fixture(name="build")
def _build() -> Callable[..., SequenceModel]:
    """Build the module of a tier under a seed, in float64."""
    return build


@pytest.fixture(name="draw")
def _draw() -> Callable[..., torch.Tensor]:
    """Draw tokens of a shape under a seed."""
    return draw
