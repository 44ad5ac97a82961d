"""The registry, the fields of the tiers, and the published counts of weights."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import bilin.models
from bilin.fields import fields_of
from bilin.models import MODELS, LayeredTier, Tier
from bilin.testing.tiers import build, label
from tests.models.variants import tier_class, variants


def test_a_registered_name_is_the_tiers_name_and_its_files() -> None:
    for name, place in MODELS.items():
        settings = tier_class(name)
        assert issubclass(settings, Tier)
        assert name == settings.tier == settings.__module__.rpartition(".")[2]
        assert place == f"{settings.__module__}:{settings.__name__}"


def test_every_file_that_names_a_tier_is_registered() -> None:
    room = Path(bilin.models.__file__).parent
    tiers = {path.stem for path in room.rglob("*.py") if "    tier: ClassVar[str] = " in path.read_text()}
    assert tiers == set(MODELS)


def test_a_layered_tier_without_layers_is_refused() -> None:
    with pytest.raises(TypeError, match="Bare has no layers; accepted: layer_class or make_layers"):

        class Bare(LayeredTier):
            tier: ClassVar[str] = "bare"


@pytest.mark.parametrize("name", MODELS)
def test_every_tier_says_where_it_comes_from(name: str) -> None:
    assert tier_class(name).source


@pytest.mark.parametrize("tier", variants(), ids=label)
def test_norms_biases_rates_and_initial_states_do_not_decay(tier: Tier) -> None:
    module = build(tier)
    names = {name for name, _ in module.named_parameters()}
    spared = re.compile(r"(^|\.)(\w*norms?(\.\d+)?\.(weight|bias)|\w*bias\w*|A_log|log_a|log_scale|D|skip|initial)$")
    assert names - module.decayed("weights") == set(filter(spared.search, names))
    outside = {name for name in names if name.partition(".")[0] in ("embedding", "positions", "readout")}
    assert module.decayed("recurrent") == module.decayed("weights") - outside
    assert module.decayed("all") == names


def test_settings_are_read_without_torch() -> None:
    code = (
        "import sys; from bilin.fields import fields_of; from bilin.models import MODELS, tier_settings\n"
        "[fields_of(tier_settings(name)) for name in MODELS]\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "fields", "count"),
    [
        ("full", {}, 256 * 256 * 128),
        ("full", {"additive": True}, 256 * 256 * 128 + 256 * 128 + 256),
        ("full", {"additive": True, "input_independent": True}, 256 * 256 + 256 * 128 + 256),
        ("cp", {"rank": 64}, 64 * (2 * 256 + 128)),
        ("block_diagonal", {"block_size": 2}, 2**2 * 128 * 128),
        ("block_diagonal", {"block_size": 8}, 8**2 * 32 * 128),
        ("rotation", {}, 128 * 128),
        ("real_diagonal", {}, 256 * 128),
        ("positive_diagonal", {}, 256 * 128),
        ("elman", {}, 256 * 128 + 256 * 256 + 2 * 256),
        ("elman", {"layers": 2}, 256 * 128 + 256 * 256 + 2 * 256 + 2 * 256 * 256 + 2 * 256),
        ("lstm", {}, 4 * (256 * 128 + 256 * 256 + 2 * 256)),
        ("lstm", {"layers": 2}, 4 * (256 * 128 + 256 * 256 + 2 * 256) + 4 * (2 * 256 * 256 + 2 * 256)),
        ("slstm", {}, 8 * 256 * 64 + 4 * 256 + 5 * 256 + 3 * 342 * 256 + 256 + 6 * 256),
        ("mlstm", {}, 3 * 512 * 256 + 4 * 512 + 512 + 3 * 512 * 128 + 3 * 512 * 8 + 8 + 2 * 512 + 4 * 256),
        ("transformer", {}, 2 * (12 * 256**2 + 13 * 256) + 2 * 256),
        ("transformer", {"positions": "learned"}, 2 * (12 * 256**2 + 13 * 256) + 2 * 256),
    ],
)
def test_recurrent_params_are_the_published_counts(name: str, fields: dict[str, Any], count: int) -> None:
    widths = {"hidden": 256} | ({"embedding": 128} if "embedding" in fields_of(tier_class(name)) else {})
    with torch.device("meta"):
        module = tier_class(name)(**widths, **fields).build(vocab_size=5, num_classes=4)
    assert module.recurrent_params == count


def test_a_block_size_must_divide_the_hidden_size() -> None:
    block_diagonal = tier_class("block_diagonal")
    assert block_diagonal(hidden=6, block_size=3).problems() == {}
    assert block_diagonal(hidden=6, block_size=4).problems() == {"block_size": "a divisor of hidden (6)"}


def test_a_rotation_needs_an_even_hidden_size() -> None:
    assert tier_class("rotation")(hidden=6).problems() == {}
    assert tier_class("rotation")(hidden=5).problems() == {"hidden": "an even number"}


@pytest.mark.parametrize("name", ["full", "block_diagonal", "rotation", "real_diagonal"])
def test_something_must_depend_on_the_token(name: str) -> None:
    fields = {"block_size": 2} if name == "block_diagonal" else {}
    problems = tier_class(name)(input_independent=True, **fields).problems()
    assert problems == {
        "input_independent": "false, or true with additive: true (otherwise nothing would depend on the token)"
    }
    assert tier_class(name)(input_independent=True, additive=True, **fields).problems() == {}


def test_only_bilinear_tiers_without_additive_terms_are_scale_invariant() -> None:
    assert tier_class("full")().scale_invariant
    assert not tier_class("full")(additive=True).scale_invariant
    assert not tier_class("lstm")().scale_invariant
