"""The settings with which the tests run each tier: small ones, and one for each way the tier can behave."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch

from bilin.fields import fields_of
from bilin.models import MODELS, Tier, tier_settings

Build: TypeAlias = "Callable[..., Any]"
"""The fixture `build`: from a tier to its module."""

Draw: TypeAlias = "Callable[..., torch.Tensor]"
"""The fixture `draw`: from a shape to tokens."""

SMALL: Mapping[str, Any] = {
    "hidden": 8,
    "embedding": 6,
    "state_size": 3,
    # A fixed number of iterations: with it, everything in the contract except a carried state holds exactly.
    "tolerance": 1e-300,
    "max_iterations": 4,
    "evaluation_iterations": 4,
}
"""Values of these fields, in tiers that have them."""

CONVERGED: Mapping[str, Any] = {
    "tolerance": 1e-9,
    "training_share": 1.0,
    "max_iterations": 1000,
    "evaluation_iterations": 1000,
    "damping_decay": 0.8,
    "patience": 10,
}
"""Values for tiers that iterate, for what holds only at the fixed point; any seed reaches it."""

VARIANTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "full": [
        {},
        {"additive": True},
        {"additive": True, "input_independent": True},
        {"additive": True, "onehot": True},
        {"hidden": 32, "onehot": True},
    ],
    "cp": [{"rank": 3, "onehot": True}, {"rank": 3, "additive": True}, {"hidden": 32, "rank": 32}],
    "block_diagonal": [
        {"block_size": 2},
        {"block_size": 2, "additive": True},
        {"block_size": 2, "additive": True, "input_independent": True},
        {"block_size": 32, "hidden": 64},
    ],
    "rotation": [{}, {"onehot": True}, {"additive": True}, {"additive": True, "input_independent": True}],
    "real_diagonal": [{}, {"additive": True}],
    "positive_diagonal": [{}, {"additive": True}],
    "elman": [{}, {"layers": 2}, {"start_token": True}],
    "lstm": [{}, {"layers": 2, "start_token": True}],
    "slstm": [
        {"heads": 2},
        {"heads": 4, "layers": 2, "forget_gate": "exp"},
        {"heads": 1, "conv_size": 0, "start_token": True},
    ],
    "mlstm": [
        {"heads": 2},
        {"heads": 4, "layers": 2, "expand": 1, "forget_gate": "exp"},
        {"heads": 1, "conv_size": 0, "start_token": True},
    ],
    "mamba": [
        {"layers": 1, "state_size": 3},
        {"layers": 2, "state_size": 3, "eigenvalues": "signed", "dt_rank": 2},
        {"layers": 1, "state_size": 1, "expand": 1, "conv_size": 0, "start_token": True},
    ],
    "mamba2": [
        {"layers": 1, "state_size": 3, "heads": 4},
        {"layers": 2, "state_size": 3, "heads": 2, "eigenvalues": "signed"},
        {"layers": 2, "state_size": 1, "heads": 1, "expand": 1, "start_token": True},
    ],
    "transformer": [
        {},
        {"layers": 1, "heads": 1},
        {"positions": "rope"},
        {"positions": "sinusoidal", "hidden": 9, "heads": 3},
        {"positions": "learned", "start_token": True},
        {"positions": "none"},
    ],
    "gla": [
        {"start_token": True},
        {"heads": 2, "conv_size": 3, "rank": 2},
        {"heads": 1, "layers": 2, "mlp": True, "output_gate": False},
    ],
    "deltanet": [
        {"heads": 2},
        {"heads": 2, "eigenvalues": "signed", "conv_size": 3, "start_token": True},
        {"heads": 1, "layers": 2, "mlp": True, "output_gate": True},
    ],
    "gated_deltanet": [
        {"heads": 2},
        {"heads": 2, "eigenvalues": "signed", "conv_size": 1},
        {"output_gate": False, "start_token": True},
    ],
    "deltaproduct": [
        {"heads": 2},
        {"heads": 1, "householders": 3, "conv_size": 3, "eigenvalues": "positive"},
        {"householders": 1, "output_gate": True, "start_token": True},
    ],
    "gated_deltaproduct": [
        {"heads": 2},
        {
            "heads": 1,
            "householders": 3,
            "conv_size": 3,
            "eigenvalues": "positive",
            "output_gate": False,
            "start_token": True,
        },
    ],
    "fixed_point": [
        {"mixer_rank": 2, "eigenvalues": "positive", "b_sees_output": True},
        {"mixer": "dplr", "eigenvalues": "positive", "mixer_sees_output": False, "damping": 0.8, "readout": "plain"},
        {"mixer": "kronecker", "lambda_sees_output": True, "c_sees_output": False, "layers": 2, "start_token": True},
    ],
    "fp_mamba": [
        {"eigenvalues": "positive", "damping": 0.7, "lambda_sees_output": True},
        {
            "eigenvalues": "positive",
            "damping": 0.5,
            "mixer": "dplr",
            "mixer_sees_output": False,
            "start_token": True,
        },
        {
            "eigenvalues": "positive",
            "damping": 0.7,
            "mixer": "kronecker",
            "b_sees_output": False,
            "c_sees_output": False,
        },
    ],
}
"""The fields of each variant of a tier, in addition to those in `SMALL`."""


def variants() -> list[Tier]:
    """Return every registered tier in all its variants."""
    return [settings(name, **fields) for name in MODELS for fields in VARIANTS[name]]


def tier_class(name: str) -> Any:
    """Return the class of settings of a tier, untyped: the fields differ from tier to tier."""
    return tier_settings(name)


def settings(name: str, **fields: Any) -> Any:
    """Return small settings of a tier."""
    return tier_settings(name)(**_known(name, SMALL) | fields)


def converged(tier: Tier) -> Tier:
    """Return the tier with as many iterations as it takes, if it iterates."""
    return dataclasses.replace(tier, **_known(tier.tier, CONVERGED))


def _known(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key in fields_of(tier_settings(name))}
