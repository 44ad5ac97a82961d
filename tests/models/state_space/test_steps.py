"""The ranges from which decays and steps are drawn, wherever they are those of Mamba or Mamba-2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.models.formulas import softplus
from tests.models.variants import tier_class

WHERE: dict[str, Callable[[Any], tuple[Any, Any, Any]]] = {
    "mamba": lambda layer: (layer.A_log, layer.steps.bias, layer.steps.weight),
    "mamba2": lambda layer: (layer.A_log, layer.step_bias, None),
    "gated_deltanet": lambda layer: (layer.decay.log_scale, layer.decay.rate.bias, None),
    "gated_deltaproduct": lambda layer: (layer.decay.log_scale, layer.decay.rate.bias, None),
    "fp_mamba": lambda layer: (layer.log_a, layer.delta.bias, layer.delta.weight),
}
"""The logarithm of -A, b, and W_Δ where there is one."""

FIELDS = {"mamba": {}, "mamba2": {"expand": 1, "heads": 64}, "fp_mamba": {"expand": 1}}


@pytest.mark.parametrize("name", WHERE)
def test_decays_and_steps_begin_in_their_ranges(name: str) -> None:
    torch.manual_seed(0)
    tier = tier_class(name)(hidden=64, **FIELDS.get(name, {"heads": 64}))
    log_a, bias, weight = WHERE[name](tier.build(vocab_size=2, num_classes=2).layers[0])
    if weight is None:  # a number a head, uniform between 1 and 16, or from 0 on
        least = 1 if name == "mamba2" else 0
        assert least <= log_a.exp().min() < least + 2
        assert 14 < log_a.exp().max() <= 16
        assert log_a.exp().mean().item() == pytest.approx(8.5, abs=1.5)
    else:  # 1 to N for every channel
        torch.testing.assert_close(log_a.exp(), torch.arange(1.0, 17)[:, None].expand_as(log_a))
        assert 0.4 < weight.abs().max() <= 0.5  # 1 / sqrt(64 / 16)
    steps = softplus(bias)
    assert 0.00099 < steps.min() < 0.002
    assert 0.05 < steps.max() < 0.101
    assert steps.log().mean().exp().item() == pytest.approx(0.01, rel=0.5)
