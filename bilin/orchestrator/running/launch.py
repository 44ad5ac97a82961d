"""Plan and launch a sweep: what `bilin sweep plan` and `bilin sweep launch` do, from Python too."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from bilin.errors import InputError, InterruptedSweepError, StoreError
from bilin.orchestrator.clusters import ClusterSpec, check_nodes, open_pool
from bilin.orchestrator.clusters.slurm.continuation import WARNING, continued
from bilin.orchestrator.grid import ClusterSettings, Grid
from bilin.orchestrator.planning.plan import Plan
from bilin.orchestrator.request import LaunchRequest, RequestOptions
from bilin.orchestrator.running.activity import ActivityFile
from bilin.orchestrator.running.progress import Observer, SweepState
from bilin.orchestrator.running.recorder import Recorder
from bilin.orchestrator.running.signals import Came, signals_interrupt
from bilin.orchestrator.running.sweep import Sweep
from bilin.orchestrator.running.wanted import keep_grid
from bilin.record import Status
from bilin.registry import package_of
from bilin.results import SweepWriter
from bilin.spec import Resources
from bilin.workers import run_trial
from bilin.workers.output.files import LOGS, Outputs
from bilin.workers.pool import RunTrial
from bilin.workers.training.checkpoint import CHECKPOINTS, Checkpoints

GRACE_S = 5.0
"""How long a launch that is interrupted at a terminal waits for its trials to keep their state."""

TERM_S = 20.0
"""The same after SIGTERM: Slurm kills 30 s after it by default, and all workers may write to one disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How a launch ended.

    Attributes:
        num_found: Wanted trials that were stored already, with a result.
        num_failed: Wanted trials without a result: from before and left alone, or from this launch.
        ran: How many trials this launch ran, by the status they ended with.
        stopped: Why it stopped before its end, if it did.
    """

    sweep: str
    directory: Path
    num_found: int
    num_failed: int
    ran: Mapping[Status, int]
    stopped: str | None = None

    @property
    def exit_code(self) -> int:
        """0: every wanted trial has a result; 1: some have none."""
        return 1 if self.num_failed or self.stopped else 0


def plan(request: LaunchRequest | Grid | Path | str, **options: Unpack[RequestOptions]) -> Plan:
    """Return what a launch would run. Reads the store, writes nothing.

    Args:
        request: A request, or a grid or the path of a grid.yaml to make one of.
        options: With a grid or a path: see `LaunchRequest.read`.

    Raises:
        InputError: The grid or another argument cannot be used; the message says why.
    """
    return as_request(request, options).plan()


def launch(
    request: LaunchRequest | Grid | Path | str,
    *,
    observer: Observer | None = None,
    run: RunTrial = run_trial,
    **options: Unpack[RequestOptions],
) -> Summary:
    """Run every trial of a grid that has no result yet, and store each result when its trial ends.

    Args:
        request: A request, or a grid or the path of a grid.yaml to make one of.
        observer: Called whenever the state of the sweep may have changed.
        run: How a worker runs one trial.
        options: With a grid or a path: see `LaunchRequest.read`.

    Raises:
        InputError: The grid or another argument cannot be used; nothing was written.
        SweepRunningError: Another process runs this sweep.
        InterruptedSweepError: A signal ended the launch, or the store could no longer be written (full disk). Stored
            results stay, and the same call goes on from there.
        ClusterError: The cluster cannot be used.
    """
    request = as_request(request, options)
    in_job = request.cluster.kind == "allocation"
    keeps_job = in_job and "SLURM_JOB_ID" in os.environ
    with (
        SweepWriter(request.store, request.grid.name, command=" ".join(sys.argv), stays=keeps_job) as writer,
        signals_interrupt(came := Came(), outermost=True),
        continued(request.folder, request.job.patience) if in_job else nullcontext(),
    ):
        current = request.plan()
        state, stopped = _run(request, current, writer, observer or _ignore, run, came)
    return Summary(
        sweep=request.grid.name,
        directory=request.folder.path,
        num_found=current.num_done,
        num_failed=state.num_failed,
        ran=dict(state.statuses),
        stopped=stopped,
    )


def as_request(request: LaunchRequest | Grid | Path | str, options: RequestOptions) -> LaunchRequest:
    """Return the request itself, or one for a grid with these options."""
    if not isinstance(request, LaunchRequest):
        return LaunchRequest.read(request, **options)
    if options:
        raise InputError(f"a request has its own {', '.join(options)}: give a grid with options, or a request alone")
    return request


def _run(
    request: LaunchRequest, current: Plan, writer: SweepWriter, observer: Observer, run: RunTrial, came: Came
) -> tuple[SweepState, str | None]:
    cluster, job = request.cluster, request.job
    state = SweepState(current)
    activity = ActivityFile(writer.directory)
    activity.drop()  # that of a launch that was killed
    if not current.num_missing:
        keep_grid(writer, current, ended=True)
        return state, None
    checkpoints = _checkpoints(writer, cluster)
    observer = _both(activity, observer)
    recorder = Recorder(writer, checkpoints)
    sweep = Sweep(state, recorder, observer)
    try:
        with (
            recorder,
            Outputs(writer.directory.resolve() / LOGS) as outputs,
            open_pool(
                cluster,
                run,
                demand=_demand(current),
                emit=sweep.take,
                job=job,
                checkpoints=checkpoints,
                outputs=outputs,
            ) as pool,
            signals_interrupt(came, outermost=False),  # again: Ray sets handlers of its own
        ):
            check_nodes(cluster, writer.directory, packages_of(current))
            keep_grid(writer, current, ended=False)
            try:
                sweep.run(pool)
            except KeyboardInterrupt as interrupt:
                pool.keep(_grace(came.by(interrupt), job))
                raise
            finally:
                activity.drop()
                keep_grid(writer, current, ended=True)
    except KeyboardInterrupt as interrupt:
        raise InterruptedSweepError(_interrupted(state), signal=came.by(interrupt)) from None
    except StoreError as error:
        if not recorder.num_written and not recorder.num_unwritten:
            raise
        raise InterruptedSweepError(_unwritten(error, recorder)) from error
    if checkpoints:
        checkpoints.clear(everything=current.grid.is_whole and not state.num_failed and sweep.stopped is None)
    return state, sweep.stopped


def _grace(number: int | None, job: ClusterSettings) -> float:
    """How long running trials have to keep their state, by the signal that interrupts them."""
    if number == WARNING:
        return max(GRACE_S, job.warning_s / 4)
    return TERM_S if number == signal.SIGTERM else GRACE_S


def _checkpoints(writer: SweepWriter, cluster: ClusterSpec) -> Checkpoints | None:
    if not cluster.checkpoint_s:
        return None
    checkpoints = Checkpoints(writer.directory.resolve() / CHECKPOINTS, cluster.checkpoint_s)
    checkpoints.drop_halves()
    return checkpoints


def _both(first: Observer, second: Observer) -> Observer:
    def observe(state: SweepState) -> None:
        first(state)
        second(state)

    return observe


def _demand(current: Plan) -> Iterable[Resources]:
    return dict.fromkeys(cell.wanted.resources for cell in current.cells if cell.missing)


def packages_of(current: Plan) -> Collection[str]:
    """The packages whose tasks and tiers the trials have."""
    blocks = {type(block) for cell in current.cells for block in (cell.wanted.cell.task, cell.wanted.cell.model)}
    return {package for block in blocks if (package := package_of(block))}


def _interrupted(state: SweepState) -> str:
    return (
        f"interrupted: {state.num_ended} trials of this launch have ended, {state.num_left} are left; "
        "the same command goes on from here"
    )


def _unwritten(error: StoreError, recorder: Recorder) -> str:
    return (
        f"stopped: {error}; it goes on from here: {recorder.num_written} results of this launch are stored, "
        f"{recorder.num_unwritten} could not be written and their trials run again"
    )


def _ignore(state: SweepState) -> None:
    """An observer that looks away."""
