"""One trial from its spec to its result: an ordinary function, the same on Ray, inline, or in a notebook."""

from __future__ import annotations

import itertools
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from bilin.errors import one_line, plain
from bilin.failures import class_of
from bilin.record import Curve, Progress, TrialResult
from bilin.registry import package_of
from bilin.spec import TrialSpec, derive_seed
from bilin.workers.environment import device_of, environment
from bilin.workers.events import Checkpointed, Report, TrialCancelled, ignore
from bilin.workers.isolation import isolated
from bilin.workers.training.checkpoint import Checkpoints, Clock
from bilin.workers.training.weights import UnusableWeightsError, restore_weights, write_weights

if TYPE_CHECKING:
    import torch

    from bilin.models.module import SequenceModel
    from bilin.workers.training.pack import Pack, Work


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
    results: list[TrialResult | TrialCancelled] = []
    run_trials([spec], report=report, ended=lambda _, result: results.append(result), checkpoints=checkpoints)
    (result,) = results
    if isinstance(result, TrialCancelled):
        raise result
    return result


def run_trials(
    specs: Iterable[TrialSpec],
    *,
    report: Report,
    ended: Callable[[TrialSpec, TrialResult | TrialCancelled], None],
    checkpoints: Checkpoints | None = None,
    limit: int = 1,
    around: Callable[[str], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Run trials that can share a pack: see `bilin.spec.TrialSpec.shape` and `run_trial`.

    Args:
        specs: The trials. Each is taken when it begins.
        report: Takes what running trials report. If it raises `TrialCancelled`, the trial that reported ends.
        ended: Takes the result of each trial when it ends.
        checkpoints: Where the trials write checkpoints.
        limit: Most trials at a time; ``resources.pack`` may lower it.
        around: Makes the context in which the code of a trial runs, from its id.
    """
    import torch

    from bilin.workers.training.graph import Programs
    from bilin.workers.training.pack import Member, Pack, Sizes
    from bilin.workers.training.step import Stacks

    def member(spec: TrialSpec) -> Member[tuple[TrialSpec, TrialResult | TrialCancelled]]:
        clock, trial_id = Clock(), spec.trial_id
        return Member(work=_trial(spec, clock, report, checkpoints, pack), clock=clock, around=lambda: around(trial_id))

    waiting, unstackable = iter(specs), None
    for first in waiting:
        given = first.resources.pack or None
        at_once = min(limit, given or limit)
        if at_once > 1 and unstackable is None:  # the same for all trials of a shape
            unstackable = _unstackable(first)
        at_once = 1 if unstackable else at_once
        with isolated() as isolation, _own_torch(first):
            on_gpu = device_of(first.resources) == "cuda" and torch.cuda.is_available()
            pack: Pack[tuple[TrialSpec, TrialResult | TrialCancelled]] = Pack(
                limit=at_once,
                sizes=Sizes(given or (sys.maxsize if on_gpu else None)),  # on a GPU, the largest stack is the fastest
                stacks=Programs() if on_gpu else Stacks(),
                check=isolation.raise_from_others,
            )
            if at_once > 1:
                for spec, result in pack.run(map(member, itertools.chain([first], waiting))):
                    ended(spec, result)
                return
            (alone,) = pack.run([member(first)])
        ended(*alone)  # after what the trial changed in this process, its streams for example, is restored


def _own_torch(spec: TrialSpec) -> AbstractContextManager[None]:
    import torch

    from bilin.workers.training.state import own_torch

    seed = derive_seed(spec.cell.cell_id, spec.seed, "draws")
    return own_torch(spec.resources.threads, seed, torch.device(device_of(spec.resources)))


def _unstackable(spec: TrialSpec) -> str:
    """Return why trials of a shape train alone; an empty string if they can share a pack.

    On a CPU they must have the same bits in a pack, unless the grid asks for packs of a given size.
    """
    import torch

    from bilin.models.stacking import fault
    from bilin.workers.training.pack import differs_in_a_stack
    from bilin.workers.training.state import build

    device = torch.device(device_of(spec.resources))
    try:
        with isolated(), _own_torch(spec):
            if reason := fault(build(spec)):
                return reason
            differs = device.type == "cpu" and not spec.resources.pack and differs_in_a_stack(spec, device)
            return "on this processor, a stack rounds otherwise" if differs else ""
    except BaseException as error:  # it will fail as a trial too
        return one_line(error)


class _ReportError(BaseException):
    """What the report of a trial has raised, which is no failure of the trial."""

    def __init__(self, raised: BaseException) -> None:
        super().__init__()
        self.raised = raised


def _trial(
    spec: TrialSpec, clock: Clock, report: Report, checkpoints: Checkpoints | None, pack: Pack[Any]
) -> Work[tuple[TrialSpec, TrialResult | TrialCancelled]]:
    """The code of one trial, as a coroutine of a pack."""

    def own_report(event: Progress | Checkpointed) -> None:
        pack.check()
        try:
            report(event)
        except BaseException as error:
            raise _ReportError(error) from None

    try:
        measured = yield from _measure(spec, clock, own_report, checkpoints)
    except _ReportError as error:
        if isinstance(error.raised, TrialCancelled):
            return spec, error.raised
        raise error.raised from None
    except BaseException as error:  # a trial that fails must not end the sweep
        if pack.is_over:
            raise
        pack.check()
        measured = _failure(spec, error)
        if spec.test_only:  # its stored row is kept, so only its output can tell what was raised
            print(measured.get("traceback", ""), file=sys.stderr)
    return spec, TrialResult(
        trial_id=spec.trial_id,
        started_at=clock.started_at,
        finished_at=time.time(),
        wall_s=clock.seconds(),
        environment=environment(spec.cell, spec.resources, pack=pack.largest),
        **measured,
    )


def _failure(spec: TrialSpec, error: BaseException) -> dict[str, Any]:
    """Return the attributes of the `TrialResult` that say what a trial raised."""
    is_own = not any(package_of(type(block)) for block in (spec.cell.task, spec.cell.model))
    try:
        return {
            "status": class_of(error, own=is_own),
            "error": one_line(error),
            "traceback": plain("".join(traceback.format_exception(error))),
        }
    except BaseException as fault:  # the error's own methods may raise too
        return {"status": "failed", "error": f"an error that cannot be described: {type(fault).__name__}"}


def _measure(spec: TrialSpec, clock: Clock, report: Report, checkpoints: Checkpoints | None) -> Work[dict[str, Any]]:
    """Train and test; return the attributes of the `TrialResult` that this measures."""
    import torch

    from bilin.rules import is_solved
    from bilin.workers.training.state import start
    from bilin.workers.training.train import train

    device = torch.device(device_of(spec.resources))
    note = None
    if spec.test_only:
        try:
            return (yield from _test_kept(spec, clock, device))
        except UnusableWeightsError as error:
            note = f"trained again, since its kept weights cannot be used: {error}"
    state = start(spec, device)
    state.clock = clock
    stop_reason = yield from train(spec, state, report=report, checkpoints=checkpoints)
    measured: dict[str, Any] = {
        "note": note,
        "status": {"diverged": "diverged", "rung": "pruned"}.get(stop_reason, "done"),
        "stop_reason": stop_reason,
        "steps": state.step,
        "params": sum(weight.numel() for weight in state.model.parameters() if weight.requires_grad),
        "recurrent_params": int(state.model.recurrent_params),
        "curve": Curve.of(state.curve),
        "rungs": tuple(state.rungs) if spec.rungs else None,
    }
    if stop_reason != "diverged":
        measured |= {
            "solved": is_solved(state.accuracies),
            "validation_accuracy": state.accuracies[-1],
            "training_loss": next(point.loss for point in reversed(state.curve) if point.length is None),
        }
    if measured["status"] == "done":
        measured |= yield from _test(spec, clock, state.model, spec.test.lengths)
        write_weights(spec, state.model, started_at=clock.started_at)
    return measured


def _test_kept(spec: TrialSpec, clock: Clock, device: torch.device) -> Work[dict[str, Any]]:
    """Test a trial with its kept weights, at the lengths that it lacks. Raises UnusableWeightsError."""
    from bilin.workers.training.state import build

    model = build(spec)
    restore_weights(spec, model)
    model.to(device)
    tested = yield from _test(spec, clock, model, spec.test_only)
    return {"status": "done", "is_test": True, **tested}


def _test(spec: TrialSpec, clock: Clock, model: SequenceModel, lengths: Sequence[int]) -> Work[dict[str, Any]]:
    import torch

    from bilin.workers.training.evaluate import run_test

    before_s = clock.seconds()  # the trial's share of the time, as `wall_s` is: other trials of its pack run meanwhile
    device = torch.device(device_of(spec.resources))
    results = yield from run_test(spec, model, lengths=lengths, device=device)
    return {"lengths": results, "test_s": clock.seconds() - before_s}
