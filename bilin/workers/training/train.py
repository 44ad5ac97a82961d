"""Training: steps with an evaluation every `validate.every` steps, until the trial is solved or has no steps left."""

from __future__ import annotations

import math
import time

import torch
from torch import nn

from bilin.record import Progress, StopReason
from bilin.rules import is_solved
from bilin.spec import Cell, TrainSpec, TrialSpec
from bilin.workers.events import Checkpointed, Report
from bilin.workers.training.checkpoint import Checkpoints
from bilin.workers.training.evaluate import validate
from bilin.workers.training.state import TrialState, draw

REPORT_PERIOD_S = 0.5


def train(spec: TrialSpec, state: TrialState, *, report: Report, checkpoints: Checkpoints | None = None) -> StopReason:
    """Train to the end, from the last checkpoint if there is one; return why the training ended.

    Training ends only at an evaluation. A loss that is not finite is also noticed only there, at a fixed step, so that
    a trial that runs again ends at the same step.
    """
    cell = spec.cell
    device, trial_id = state.loss_sum.device, spec.trial_id
    reported_at = time.monotonic()
    if checkpoints:
        checkpoints.begin(spec, state)
    while state.step < cell.train.steps:
        if checkpoints and checkpoints.write_if_due(spec, state):
            report(Checkpointed(trial_id=trial_id, step=state.step))
        take_step(cell, state, lr=spec.lr)
        is_last = state.step == cell.train.steps
        if state.step % cell.validate.every and not is_last:
            if time.monotonic() - reported_at >= REPORT_PERIOD_S:
                reported_at = time.monotonic()
                report(_progress(spec, trial_id, state))
            continue
        if not math.isfinite(state.loss_sum.item()):
            return "diverged"
        points = validate(cell, state.model, seed=spec.seed, step=state.step, complete=is_last, device=device)
        state.curve += points
        if math.isinf(points[0].loss):
            return "diverged"
        complete = len(points) == 1 + len(set(cell.validate.lengths))
        state.accuracies.append(min(point.accuracy for point in points) if complete else None)
        reported_at = time.monotonic()
        report(_progress(spec, trial_id, state))
        if cell.train.stop_when_solved and is_solved(state.accuracies):
            return "solved"
    return "budget"


def take_step(cell: Cell, state: TrialState, *, lr: float) -> None:
    """Update the weights once."""
    state.model.train()
    size = cell.train.batch_size
    if state.examples is None:
        batch = draw(cell, state.data, size, look=state.step == 0)
    else:
        num_examples, device = len(state.examples.tokens), state.data.device
        batch = state.examples.take(torch.randint(num_examples, (size,), generator=state.data, device=device))
    every_token = cell.supervision == "every_token"
    logits = state.model(batch.tokens, batch.num_tokens, every_token=every_token)
    targets = batch.targets.flatten() if every_token else batch.answers
    loss = nn.functional.cross_entropy(logits.flatten(0, -2), targets)  # ignores IGNORED
    state.optimizer.zero_grad()
    loss.backward()
    if cell.train.clip_norm is not None:
        nn.utils.clip_grad_norm_(state.model.parameters(), cell.train.clip_norm)
    state.lr = lr_at(cell.train, lr, state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = state.lr
    state.optimizer.step()
    state.loss_sum += loss.detach()
    state.step += 1


def lr_at(train: TrainSpec, lr: float, step: int) -> float:
    """Return the learning rate of a step, counted from 0. The schedules that decay reach 0 after the last step."""
    if step < train.warmup_steps:
        return lr * (step + 1) / train.warmup_steps
    progress = (step - train.warmup_steps) / (train.steps - train.warmup_steps)
    if train.schedule == "cosine":
        return lr * (1 + math.cos(math.pi * progress)) / 2
    return lr * (1 - progress) if train.schedule == "linear" else lr


def _progress(spec: TrialSpec, trial_id: str, state: TrialState) -> Progress:
    latest = next((point for point in reversed(state.curve) if point.length is None), None)
    return Progress(
        trial_id=trial_id,
        step=state.step,
        max_steps=spec.cell.train.steps,
        loss=latest.loss if latest else None,
        accuracy=latest.accuracy if latest else None,
    )
