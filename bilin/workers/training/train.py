"""Training: steps with an evaluation every `validate.every` steps, until the trial is solved or has no steps left."""

from __future__ import annotations

import math
import time

import torch
from torch import nn

from bilin.record import Progress, StopReason
from bilin.rules import is_solved
from bilin.spec import Cell, TrainSpec, TrialSpec
from bilin.tasks import Batch
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
    device = state.loss_sum.device
    progress = _Progress(spec, report)
    if checkpoints:
        checkpoints.begin(spec, state)
    while state.step < cell.train.steps:
        if checkpoints and checkpoints.write_if_due(spec, state):
            report(Checkpointed(trial_id=progress.trial_id, step=state.step))
        take_step(cell, state, lr=spec.lr)
        is_last = state.step == cell.train.steps
        if state.step % cell.validate.every and not is_last:
            progress.send_if_due(state)
            continue
        if not math.isfinite(state.loss_sum.item()):
            return "diverged"
        points = validate(cell, state.model, seed=spec.seed, step=state.step, complete=is_last, device=device)
        state.curve += points
        if math.isinf(points[0].loss):
            return "diverged"
        complete = len(points) == 1 + len(set(cell.validate.lengths))
        state.accuracies.append(min(point.accuracy for point in points) if complete else None)
        progress.send(state)
        if cell.train.stop_when_solved and is_solved(state.accuracies):
            return "solved"
    return "budget"


def take_step(cell: Cell, state: TrialState, *, lr: float) -> None:
    """Update the weights once."""
    state.model.train()
    batch = _next_batch(cell, state)
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


def _next_batch(cell: Cell, state: TrialState) -> Batch:
    size = cell.train.batch_size
    if state.examples is None:
        return draw(cell, state.data, size, look=state.step == 0)
    device = state.data.device
    return state.examples.take(torch.randint(len(state.examples.tokens), (size,), generator=state.data, device=device))


class _Progress:
    """Reports how far a trial is: at evaluations, and otherwise by the clock."""

    def __init__(self, spec: TrialSpec, report: Report) -> None:
        self.trial_id = spec.trial_id
        self._max_steps = spec.cell.train.steps
        self._report = report
        self._sent_at = time.monotonic()

    def send_if_due(self, state: TrialState) -> None:
        if time.monotonic() - self._sent_at >= REPORT_PERIOD_S:
            self.send(state)

    def send(self, state: TrialState) -> None:
        self._sent_at = time.monotonic()
        latest = next((point for point in reversed(state.curve) if point.length is None), None)
        self._report(
            Progress(
                trial_id=self.trial_id,
                step=state.step,
                max_steps=self._max_steps,
                loss=latest.loss if latest else None,
                accuracy=latest.accuracy if latest else None,
            )
        )
