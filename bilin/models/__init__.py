"""The tiers, one per file. May import `bilin.fields`, `bilin.registry` and, where a module is built, torch."""

from __future__ import annotations

from collections.abc import Mapping

from bilin.models.tier import LayeredTier as LayeredTier
from bilin.models.tier import Tier as Tier
from bilin.registry import MODELS_GROUP, Registry

MODELS: Mapping[str, str] = {
    "full": "bilin.models.bilinear.full:Full",
    "cp": "bilin.models.bilinear.cp:CP",
    "block_diagonal": "bilin.models.bilinear.block_diagonal:BlockDiagonal",
    "rotation": "bilin.models.bilinear.rotation:Rotation",
    "real_diagonal": "bilin.models.bilinear.real_diagonal:RealDiagonal",
    "positive_diagonal": "bilin.models.bilinear.positive_diagonal:PositiveDiagonal",
    "elman": "bilin.models.recurrent.elman:Elman",
    "lstm": "bilin.models.recurrent.lstm:LSTM",
    "slstm": "bilin.models.xlstm.slstm:SLSTM",
    "mlstm": "bilin.models.xlstm.mlstm:MLSTM",
    "mamba": "bilin.models.state_space.mamba:Mamba",
    "mamba2": "bilin.models.state_space.mamba2:Mamba2",
    "gla": "bilin.models.linear_attention.gla:GLA",
    "deltanet": "bilin.models.linear_attention.deltanet:DeltaNet",
    "gated_deltanet": "bilin.models.linear_attention.gated_deltanet:GatedDeltaNet",
    "deltaproduct": "bilin.models.linear_attention.deltaproduct:DeltaProduct",
    "gated_deltaproduct": "bilin.models.linear_attention.gated_deltaproduct:GatedDeltaProduct",
    "transformer": "bilin.models.attention.transformer:Transformer",
    "fixed_point": "bilin.models.fixed_point.fixed_point:FixedPoint",
    "fp_mamba": "bilin.models.fixed_point.fp_mamba:FPMamba",
}

MODEL_REGISTRY: Registry[Tier] = Registry(
    what="tier",
    key="tier",
    group=MODELS_GROUP,
    own=MODELS,
    base=Tier,  # type: ignore[type-abstract]
)
"""The tiers of `MODELS`, and those that installed packages declare."""

tier_settings = MODEL_REGISTRY.own_first
"""Returns the settings of a tier, by its name."""
