"""What ran in a process before changes nothing of a trial, nor the trial anything for what comes after."""

from __future__ import annotations

import torch

from bilin.workers.trial import run_trial
from tests.workers.training.test_checkpoint import measured


def test_a_trial_gives_the_same_whatever_was_set_before(make):
    spec = make(train={"steps": 20}, validate={"every": 10})
    before = run_trial(spec)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    try:
        assert measured(run_trial(spec)) == measured(before)
        assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float64, False)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
