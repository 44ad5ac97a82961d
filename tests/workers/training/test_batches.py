"""A task of another package may give anything."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bilin.tasks import Batch
from bilin.tasks.parity import Parity
from bilin.tasks.task import IGNORED
from bilin.workers.training.batches import TaskError, sample
from bilin.workers.trial import run_trial


def changed(**changes):
    """Parity whose batches are changed."""

    class Odd(Parity):
        def sample(self, lengths, generator):
            batch = super().sample(lengths, generator)
            return dataclasses.replace(
                batch, **{name: change(getattr(batch, name)) for name, change in changes.items()}
            )

    return Odd()


FAULTS = {
    "shapes .* accepted: \\(4, time\\)": {name: lambda of: of[:2] for name in ("tokens", "targets", "num_tokens")},
    "shapes": {"targets": lambda of: of[:, :1]},
    "gave torch.int32, torch.int64": {"targets": lambda of: of.int()},
    "gave tokens from 0 to 7; accepted: 0 to 1": {"tokens": lambda of: of * 7},
    "gave labels from 5 to 6": {"targets": lambda of: of.where(of == IGNORED, of + 5)},
    "gave sequences of 0 to 0 tokens": {"num_tokens": lambda of: of * 0},
    "without a label after their last token": {"targets": lambda of: torch.full_like(of, IGNORED)},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_is_said(fault):
    with pytest.raises(TaskError, match=f"the task parity .*{fault}"):
        sample(changed(**FAULTS[fault]), torch.tensor([9, 9, 9, 9]), torch.Generator().manual_seed(0), look=True)


def test_a_sound_batch_passes():
    assert isinstance(sample(Parity(), torch.tensor([3, 1]), torch.Generator(), look=True), Batch)


def test_a_trial_of_it_fails_and_ends(make):
    spec = make()
    half = changed(**FAULTS["shapes .* accepted: \\(4, time\\)"])
    result = run_trial(dataclasses.replace(spec, cell=dataclasses.replace(spec.cell, task=half)))
    assert result.status == "failed"
    assert "TaskError: the task parity" in (result.error or "")
