"""Every tier at a small size; and the shapes of tensor functions are checked as they run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from jaxtyping import install_import_hook

from bilin.fields import fields_of
from bilin.models import MODELS, Tier, tier_settings
from bilin.models.bilinear.bilinear import Bilinear

install_import_hook(
    [
        "bilin.models.bilinear.groups",
        "bilin.models.bilinear.matrices",
        "bilin.models.bilinear.rows",
        "bilin.models.bilinear.unroll",
        "bilin.models.bilinear.recurrence",
        "bilin.models.bilinear.naive",
        "bilin.models.baselines.lstm_module",
    ],
    "beartype.beartype",
)

REQUIRED = {"rank": 3, "block_size": 2}
VOCAB, CLASSES = 5, 4


def variants() -> list[Tier]:
    """Every registered tier, with additive terms too where it has them, at H = 8 and D = 6."""
    found = []
    for name in MODELS:
        fields = fields_of(tier_settings(name))
        required = {field: REQUIRED[field] for field in fields if fields[field].required}
        tier = tier_settings(name)(hidden=8, embedding=6, **required)
        found += [tier, dataclasses.replace(tier, additive=True)] if "additive" in fields else [tier]
    found.append(tier_settings("block_diagonal")(hidden=64, embedding=6, block_size=32))
    found.append(tier_settings("lstm")(hidden=8, embedding=6, layers=2))
    return found


def label(tier: Tier) -> str:
    """The name of a variant in the test's id."""
    extra = [f"{name}={getattr(tier, name)}" for name in ("block_size", "additive", "layers") if hasattr(tier, name)]
    return "-".join([tier.tier, *extra])


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
