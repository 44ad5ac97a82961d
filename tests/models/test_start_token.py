"""A token before each sequence, for tiers whose state starts at 0."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bilin.fields import fields_of
from bilin.models import MODELS, Tier
from bilin.testing.tiers import VOCAB_SIZE, label
from tests.models.variants import Build, Draw, tier_class, variants

WITH_START = [tier for tier in variants() if "start_token" in fields_of(type(tier))]


def test_every_tier_without_a_learned_initial_state_has_the_field(build: Build) -> None:
    assert {tier.tier for tier in WITH_START} == {
        tier.tier for tier in variants() if "initial" not in dict(build(tier).named_parameters())
    }


def test_every_such_tier_is_tested_with_it() -> None:
    assert {tier.tier for tier in WITH_START if getattr(tier, "start_token", None)} == {
        name for name in MODELS if "start_token" in fields_of(tier_class(name))
    }


@pytest.mark.parametrize("tier", WITH_START, ids=label)
def test_the_last_token_of_the_embedding_is_read_first(tier: Tier, build: Build, draw: Draw) -> None:
    tier = dataclasses.replace(tier, start_token=True)  # type: ignore[call-arg]
    module, tokens = build(tier), draw(3, 9)
    longer = torch.nn.functional.pad(tokens, (1, 0), value=VOCAB_SIZE)
    expected = module.readout(module.read(longer, None)[0])
    torch.testing.assert_close(module(tokens, torch.full((3,), 9), every_token=True), expected[:, 1:])


@pytest.mark.parametrize("tier", WITH_START, ids=label)
def test_it_is_one_more_row_of_the_embedding(tier: Tier, build: Build) -> None:
    without, module = (build(dataclasses.replace(tier, start_token=there)) for there in (False, True))  # type: ignore[call-arg]
    assert (len(without.embedding), len(module.embedding)) == (VOCAB_SIZE, VOCAB_SIZE + 1)
    assert module.recurrent_params == without.recurrent_params
