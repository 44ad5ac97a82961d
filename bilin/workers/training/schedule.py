"""The learning rate over the steps."""

from __future__ import annotations

import math

from bilin.spec import TrainSpec


def rate_at(train: TrainSpec, lr: float, step: int) -> float:
    """The rate of a step, counted from 0; the decay reaches 0 where the steps end."""
    if step < train.warmup_steps:
        return lr * (step + 1) / train.warmup_steps
    progress = (step - train.warmup_steps) / (train.steps - train.warmup_steps)
    if train.schedule == "cosine":
        return lr * (1 + math.cos(math.pi * progress)) / 2
    return lr * (1 - progress) if train.schedule == "linear" else lr
