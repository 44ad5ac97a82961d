"""Training: steps with an evaluation every `validate.every` steps, until the trial is solved or has no steps left."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext

from bilin.record import Progress, Rung, StopReason
from bilin.rules import is_solved
from bilin.spec import TrialSpec
from bilin.workers.events import Checkpointed, Report
from bilin.workers.training.checkpoint import Checkpoints
from bilin.workers.training.evaluate import validate, validated_lengths
from bilin.workers.training.pack import Steps, Work
from bilin.workers.training.state import TrialState, batches_at

REPORT_PERIOD_S = 0.5


def train(
    spec: TrialSpec, state: TrialState, *, report: Report, checkpoints: Checkpoints | None = None
) -> Work[StopReason]:
    """Train to the end, from the last checkpoint if there is one; return why the training ended.

    Training ends only at an evaluation. A loss that is not finite is also noticed only there, at a fixed step, so that
    a trial that runs again ends at the same step.
    """
    with checkpoints.running(spec, state) if checkpoints else nullcontext():
        reported_at, began = time.monotonic(), state.step
        while state.step < spec.cell.train.steps and not _is_paused(spec, state):
            if checkpoints and checkpoints.write_if_due(spec, state):
                report(Checkpointed(trial_id=spec.trial_id, step=state.step))
            evaluated_at = min(spec.cell.train.steps, _next_multiple(spec.cell.validate.every, state.step))
            yield Steps(state, batches_at(state)[: evaluated_at - state.step])
            reason = None
            if state.step == evaluated_at:
                reason = yield from _look(spec, state)
                if reason == "diverged":
                    return reason
            if state.step == evaluated_at or time.monotonic() - reported_at >= REPORT_PERIOD_S:
                reported_at = time.monotonic()
                report(_progress(spec, state, began))
            if reason:
                return reason
        if state.step < spec.cell.train.steps:
            if checkpoints:
                checkpoints.write_if_due(spec, state, now=True)
            return "rung"
    return "budget"


def _is_paused(spec: TrialSpec, state: TrialState) -> bool:
    """Return whether a trial has been compared at the rung up to which it is trained."""
    return spec.until is not None and bool(state.rungs) and state.rungs[-1].step >= spec.until


def _next_multiple(number: int, above: int) -> int:
    return (above // number + 1) * number


def _look(spec: TrialSpec, state: TrialState) -> Work[StopReason | None]:
    """Evaluate; return why the training ends here, or None if it continues."""
    cell = spec.cell
    if not math.isfinite(state.loss_sum.item()):
        return "diverged"
    is_rung = state.step in spec.rungs
    is_complete = is_rung or state.step == cell.train.steps
    points = yield from validate(
        cell, state.model, seed=spec.seed, step=state.step, complete=is_complete, device=state.device
    )
    state.curve += points
    if math.isinf(points[0].loss):
        return "diverged"
    complete = len(points) == len(validated_lengths(cell))
    state.accuracies.append(min(point.accuracy for point in points) if complete else None)
    if is_rung:
        state.rungs.append(Rung(state.step, min(point.accuracy for point in points), points[0].loss))
    return "solved" if cell.train.stop_when_solved and is_solved(state.accuracies) else None


def _progress(spec: TrialSpec, state: TrialState, began: int) -> Progress:
    latest = next((point for point in reversed(state.curve) if point.length is None), None)
    return Progress(
        trial_id=spec.trial_id,
        step=state.step,
        max_steps=spec.cell.train.steps,
        began=began,
        loss=latest.loss if latest else None,
        accuracy=latest.accuracy if latest else None,
    )
