"""Plan and launch a sweep: what `bilin sweep plan` and `bilin sweep launch` do, from Python too."""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Unpack

from bilin.errors import DamageWarning, InputError, InterruptedSweepError, StoreError
from bilin.folder import SweepFolder
from bilin.machine.slurm import WARNING_SIGNAL
from bilin.notebook import html_table
from bilin.orchestrator.clusters import PoolSpec, check_nodes, open_pool
from bilin.orchestrator.clusters.slurm.continuation import continued
from bilin.orchestrator.grid import ClusterSettings
from bilin.orchestrator.planning.asked import AskedFile
from bilin.orchestrator.planning.plan import Plan
from bilin.orchestrator.planning.state import SweepState
from bilin.orchestrator.request import GridSource, LaunchRequest, RequestOptions
from bilin.orchestrator.sweep.loop import Sweep
from bilin.orchestrator.sweep.progress import shown_progress
from bilin.orchestrator.sweep.recorder import Recorder, write_grid
from bilin.orchestrator.sweep.snapshot import Observer, Snapshot, SnapshotFile, attributes
from bilin.record import RESULT_STATUSES, Status
from bilin.results import SweepWriter, UnreadableSweepError
from bilin.units import plural
from bilin.workers.output import Outputs
from bilin.workers.pool import RunTrial
from bilin.workers.training.checkpoint import Checkpoints

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, WARNING_SIGNAL)
"""The signals that end a launch as Ctrl-C does: results are kept, and running trials write checkpoints."""

GRACE_S = 5.0
"""How long a launch that is interrupted at a terminal waits for its trials to write their checkpoints."""

TERM_S = 20.0
"""The same after SIGTERM. Slurm sends SIGKILL 30 s later by default, and all workers may write to one disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(Snapshot):
    """How a launch ended: the last snapshot of its sweep, and what it copied.

    Attributes:
        directory: The folder of the sweep.
        num_copied: How many results were copied from each other sweep of the store.
        stale: How many results other versions than the installed ones ran, by these versions.
        num_mixed: How many cells have such results beside results of the installed versions.
    """

    directory: Path
    num_copied: Mapping[str, int]
    stale: Mapping[str, int]
    num_mixed: int

    @property
    def ran(self) -> Mapping[Status, int]:
        """How many trials this launch ran, by the status they ended with: `ended`."""
        return self.ended

    @property
    def state(self) -> SweepState:
        """The state of the sweep, of whose cells ``--only`` may have left some out."""
        return SweepState.of(
            num_to_run=self.num_left + self.num_unfinished + self.num_elsewhere, num_failed=self.num_failed
        )

    @property
    def exit_code(self) -> int:
        """0: every trial of this launch has a result; 1: some have none, or failed when they were run again."""
        return 1 if self.num_failed or self.num_unfinished or self.stopped else 0

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self._counts().items())
        return f"<Summary {self.sweep}: {counts}{f'; stopped: {self.stopped}' if self.stopped else ''}>"

    def _repr_html_(self) -> str:
        rows = [(what, str(count)) for what, count in self._counts().items()]
        stopped = [("stopped early", self.stopped)] if self.stopped else []
        return html_table((), [*rows, *stopped], right_aligned={1}, caption=f"launch of {self.sweep}")

    def _counts(self) -> dict[str, int]:
        ran = {f"ended as {status}": count for status, count in sorted(self.ran.items()) if count}
        tests = {"only tested": self.num_tests} if self.num_tests else {}
        kept = {"failed with their stored result kept": self.num_unfinished} if self.num_unfinished else {}
        return {"found in the store": self.num_found, **ran, **tests, "without a result": self.num_failed, **kept}


def plan(request: LaunchRequest | GridSource, **options: Unpack[RequestOptions]) -> Plan:
    """Return what a launch would run. Reads the store, writes nothing.

    Args:
        request: The path of a grid.yaml, a dict with the keys of one, a grid that was read, or a request.
        options: With a grid: see `LaunchRequest.read`.

    Raises:
        InputError: The grid or another argument cannot be used; the message says why.
    """
    return as_request(request, options).plan()


def launch(
    request: LaunchRequest | GridSource,
    *,
    observer: Observer | None = None,
    progress: bool | None = None,
    run: RunTrial | None = None,
    **options: Unpack[RequestOptions],
) -> Summary:
    """Run every trial of a grid that has no result yet, and store each result when its trial ends.

    Args:
        request: The path of a grid.yaml, a dict with the keys of one, a grid that was read, or a request.
        observer: Takes a `Snapshot` of the sweep a few times a second, and one at its end. It is called in the thread
            of the launch, which waits for it, and what it raises ends the launch.
        progress: Whether to show counts, speed and failures on standard error, or in the cell of a notebook. None: if
            standard error is a terminal, or in a notebook.
        run: How a worker runs one trial; None: it is trained, with others of its shape as one program.
        options: With a grid: see `LaunchRequest.read`.

    Raises:
        InputError: The grid or another argument cannot be used; nothing was written.
        SweepRunningError: Another process runs this sweep.
        InterruptedSweepError: A signal ended the launch, or the store could no longer be written (full disk). Stored
            results stay, and the same call continues from there.
        ClusterError: The cluster cannot be used.
    """
    request = as_request(request, options)
    in_job = request.cluster.in_job
    keeps_job = in_job and "SLURM_JOB_ID" in os.environ
    with (
        SweepWriter(request.store, request.grid.name, command=" ".join(sys.argv), stays=keeps_job) as writer,
        signals_interrupt(received := ReceivedSignal(), outermost=True),
        continued(request.folder, request.job.patience) if in_job else nullcontext(),
    ):
        plan = _take_over(request, writer)
        with shown_progress(progress, request.grid.name, plan.num_to_run) as shown:
            observers = (*shown, *([observer] if observer else []))
            last = _run(request, plan, writer, observers, run, received)
    return Summary(
        **attributes(last),
        directory=request.folder.path,
        num_copied=dict(writer.num_taken_over),
        stale=plan.stale,
        num_mixed=plan.num_mixed,
    )


def as_request(request: LaunchRequest | GridSource, options: RequestOptions) -> LaunchRequest:
    """Return the request itself, or one for a grid with these options."""
    if not isinstance(request, LaunchRequest):
        return LaunchRequest.read(request, **options)
    if options:
        raise InputError(f"a request has its own {', '.join(options)}: give a grid with options, or a request alone")
    return request


def _take_over(request: LaunchRequest, writer: SweepWriter) -> Plan:
    """Copy the results that other sweeps of the store have, and return what is left to run.

    Raises:
        InterruptedSweepError: They cannot be written.
    """
    plan, unreadable = request.plan(), set[str]()
    while found := plan.to_copy:
        AskedFile(writer.folder).add(plan.asked)
        for name, trial_ids in found.items():
            try:
                writer.take_over(name, trial_ids)
            except UnreadableSweepError as error:
                unreadable.add(name)
                warnings.warn(str(error), DamageWarning, stacklevel=2)
            except StoreError as error:
                raise InterruptedSweepError(f"results of sweep {name!r} were not copied: {error}") from error
        plan = request.plan(unreadable=unreadable)
    return plan


def _run(
    request: LaunchRequest,
    plan: Plan,
    writer: SweepWriter,
    observers: Sequence[Observer],
    run: RunTrial | None,
    received: ReceivedSignal,
) -> Snapshot:
    """Run a plan, and return what the sweep looks like at its end."""
    folder = SweepFolder(writer.folder.path.resolve())
    file, checkpoints = SnapshotFile(folder), _checkpoints(folder, request.cluster.checkpoint_s)
    file.remove()  # that of a launch that was killed
    recorder = Recorder(writer, checkpoints)
    sweep = Sweep(plan, recorder, file, *observers, folder=folder, packs=run is None)
    _tidy_weights(folder, plan)
    if checkpoints:
        checkpoints.drop(_unneeded_checkpoints(folder, plan))
    if not plan.num_to_run:
        last = replace(sweep.snapshot(), num_elsewhere=write_grid(writer, plan, has_ended=True))
        _clear(checkpoints, plan, last)
        return last
    outputs = Outputs(folder)
    spec = PoolSpec(
        run=run,
        emit=sweep.take,
        demand={cell.wanted.resources for cell in plan.cells if cell.to_run},
        job=request.job,
        checkpoints=checkpoints,
        outputs=outputs,
    )
    with (
        _stops_explained(sweep, recorder, writer, received),
        recorder,
        outputs,
        open_pool(request.cluster, spec) as pool,
        signals_interrupt(received, outermost=False),  # a second time, since Ray sets its own handlers
    ):
        check_nodes(request.cluster, writer.folder.path, plan.packages)
        num_elsewhere = write_grid(writer, plan, has_ended=False)
        try:
            sweep.run(pool, num_elsewhere=num_elsewhere)
        except KeyboardInterrupt as interrupt:
            pool.keep(_grace(received.number_of(interrupt), request.job))
            raise
        finally:
            file.remove()
            write_grid(writer, sweep.current_plan(), has_ended=True)
    last = sweep.snapshot()
    _clear(checkpoints, plan, last)
    return last


@contextmanager
def _stops_explained(sweep: Sweep, recorder: Recorder, writer: SweepWriter, received: ReceivedSignal) -> Iterator[None]:
    """Raise InterruptedSweepError in place of an interrupt, or of a store that can no longer be written.

    If the store could not be written from the start, its own error is raised.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        last = sweep.snapshot()
        message = f"interrupted: {plural(last.num_ended, 'trial')} of this launch ended, {last.num_left} left"
        number = received.number_of(interrupt)
        raise InterruptedSweepError(f"{message}; the same command continues from here", signal=number) from None
    except StoreError as error:
        if not (recorder.num_written or recorder.num_unwritten or writer.num_taken_over):
            raise
        message = (
            f"stopped: {error}; the same command continues from here: {plural(recorder.num_written, 'result')} of this "
            f"launch stored, {recorder.num_unwritten} could not be written and their trials run again"
        )
        raise InterruptedSweepError(message) from error


def _tidy_weights(folder: SweepFolder, plan: Plan) -> None:
    """Remove weights that are not kept: of trials that the grid does not ask for, and of cells that are complete.

    Also those of trainings that no row has, and the files that killed workers left half written; no other launch runs
    the sweep.
    """
    kept = {trial.weights.name: trial.trial_id for trial in plan.stored.values() if trial.weights}
    for path in folder.weights.glob("*"):
        if path.name not in kept:
            path.unlink(missing_ok=True)
    dropped = {*kept.values()}
    if dropped and not plan.grid.is_whole:
        dropped &= {trial.trial_id for cell in plan.cells for trial in cell.stored.values()}
    if dropped:
        for cell in plan.cells:
            dropped -= cell.weights_kept
            if cell.num_to_run:  # rows of other versions count until they are replaced
                dropped -= {trial.trial_id for trial in plan.rows[cell.wanted.cell_id]}
        folder.drop_weights(dropped)
    with suppress(OSError):
        folder.weights.rmdir()  # if it is empty


def _unneeded_checkpoints(folder: SweepFolder, plan: Plan) -> Iterator[str]:
    """Yield the trials of complete cells whose checkpoints a launch has left that was killed."""
    complete = {cell.wanted.cell_id for cell in plan.cells if not cell.num_to_run}
    for path in folder.complete_checkpoints():
        trial = plan.stored.get(path.name)
        if trial and trial.cell_id in complete and trial.status in RESULT_STATUSES:
            yield trial.trial_id


def _clear(checkpoints: Checkpoints | None, plan: Plan, last: Snapshot) -> None:
    """Remove all checkpoints if no trial is left that could continue from one."""
    if checkpoints:
        has_all = not (last.num_left or last.num_failed or last.num_unfinished or last.stopped)
        checkpoints.clear(everything=plan.grid.is_whole and has_all)


def _checkpoints(folder: SweepFolder, period_s: float) -> Checkpoints | None:
    if not period_s:
        return None
    checkpoints = Checkpoints(folder, period_s)
    checkpoints.drop_partial()
    return checkpoints


@dataclass(slots=True)
class ReceivedSignal:
    """The signal that interrupted a launch, if one did."""

    number: int | None = None

    def number_of(self, interrupt: KeyboardInterrupt) -> int | None:
        """Return the signal that raised an interrupt. Ray replaces the interrupt by one without the number."""
        return next(iter(interrupt.args), self.number)


@contextmanager
def signals_interrupt(received: ReceivedSignal, *, outermost: bool) -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a sweep as Ctrl-C does: finished trials are kept, and nothing is left running.

    Only the first signal counts: a second one would interrupt the shutdown. A signal that is ignored (as by nohup)
    stays ignored, except the warning of a job, which the job's script ignores until a launch can take it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    signals = [
        number for number in INTERRUPTS if number == WARNING_SIGNAL or signal.getsignal(number) is not signal.SIG_IGN
    ]

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.number = number
        for other in signals:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    before = {number: signal.signal(number, interrupt) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items() if received.number is None or outermost else ():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _grace(number: int | None, job: ClusterSettings) -> float:
    """How long running trials have to write a checkpoint, by the signal that interrupts them."""
    if number == WARNING_SIGNAL:
        return max(GRACE_S, job.warning_s / 4)
    return TERM_S if number == signal.SIGTERM else GRACE_S
