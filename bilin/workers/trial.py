"""One trial from its spec to its result: an ordinary function, the same on Ray, inline, or in a notebook."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bilin.errors import one_line, printable
from bilin.failures import class_of
from bilin.record import TrialResult
from bilin.registry import package_of
from bilin.spec import TrialSpec, derive_seed
from bilin.workers.environment import device_of, environment
from bilin.workers.events import Report, ignore
from bilin.workers.isolation import isolated
from bilin.workers.training.checkpoint import Checkpoints, Clock
from bilin.workers.training.weights import UnusableWeightsError, restore_weights, write_weights

if TYPE_CHECKING:
    import torch

    from bilin.models.module import SequenceModel


def run_trial(spec: TrialSpec, *, report: Report = ignore, checkpoints: Checkpoints | None = None) -> TrialResult:
    """Train, validate and test one trial; or only test it, with kept weights, at the lengths `TrialSpec.test_only`.

    If the kept weights cannot be used, the trial is trained again, and the result has a note.

    A failure is a result too: whatever the code of a task or tier raises becomes a row whose status is the class of
    the failure, and what it changes in this process is restored (`bilin.workers.isolation`). A user's interrupt passes
    through, and so does what ``report`` raises. ``report`` is called at evaluations, and between them about twice a
    second.

    With ``checkpoints``, the trial continues from its last checkpoint. On a CPU, the result is the same to the last
    bit as without the interruption.
    """
    clock = Clock()
    with isolated(report) as isolation:
        try:
            measured = _measure(spec, clock, isolation.report, checkpoints)
        except BaseException as error:  # a trial that fails must not end the sweep
            isolation.raise_from_others()
            measured = _failure(spec, error)
    return TrialResult(
        trial_id=spec.trial_id,
        started_at=clock.started_at,
        finished_at=time.time(),
        wall_s=clock.seconds(),
        environment=environment(spec.cell, spec.resources),
        **measured,
    )


def _failure(spec: TrialSpec, error: BaseException) -> dict[str, Any]:
    """Return the attributes of the `TrialResult` that say what a trial raised."""
    is_own = not any(package_of(type(block)) for block in (spec.cell.task, spec.cell.model))
    try:
        return {
            "status": class_of(error, own=is_own),
            "error": one_line(error),
            "traceback": printable("".join(traceback.format_exception(error))),
        }
    except BaseException as fault:  # the error's own methods may raise too
        return {"status": "failed", "error": f"an error that cannot be described: {type(fault).__name__}"}


def _measure(spec: TrialSpec, clock: Clock, report: Report, checkpoints: Checkpoints | None) -> dict[str, Any]:
    """Train and test; return the attributes of the `TrialResult` that this measures."""
    import torch

    from bilin.rules import is_solved
    from bilin.workers.training.state import own_torch, start
    from bilin.workers.training.train import train

    device = torch.device(device_of(spec.resources))
    with own_torch(spec.resources.threads, derive_seed(spec.cell.cell_id, spec.seed, "draws"), device):
        note = None
        if spec.test_only:
            try:
                return _test_kept(spec, device)
            except UnusableWeightsError as error:
                note = f"trained again, since its kept weights cannot be used: {error}"
        state = start(spec, device)
        state.clock = clock
        stop_reason = train(spec, state, report=report, checkpoints=checkpoints)
        measured: dict[str, Any] = {
            "note": note,
            "status": "diverged" if stop_reason == "diverged" else "done",
            "stop_reason": stop_reason,
            "steps": state.step,
            "params": sum(weight.numel() for weight in state.model.parameters() if weight.requires_grad),
            "recurrent_params": int(state.model.recurrent_params),
            "curve": tuple(state.curve),
        }
        if stop_reason != "diverged":
            measured |= {
                "solved": is_solved(state.accuracies),
                "validation_accuracy": state.accuracies[-1],
                "training_loss": next(point.loss for point in reversed(state.curve) if point.length is None),
                **_test(spec, state.model, spec.test.lengths, device),
            }
            write_weights(spec, state.model, started_at=clock.started_at)
        return measured


def _test_kept(spec: TrialSpec, device: torch.device) -> dict[str, Any]:
    """Test a trial with its kept weights, at the lengths that it lacks. Raises UnusableWeightsError."""
    from bilin.workers.training.state import build

    model = build(spec)
    restore_weights(spec, model)
    model.to(device)
    return {"status": "done", "is_test": True, **_test(spec, model, spec.test_only, device)}


def _test(spec: TrialSpec, model: SequenceModel, lengths: Sequence[int], device: torch.device) -> dict[str, Any]:
    from bilin.workers.training.evaluate import run_test

    began = time.perf_counter()
    results = run_test(spec, model, lengths=lengths, device=device)
    return {"lengths": results, "test_s": time.perf_counter() - began}
