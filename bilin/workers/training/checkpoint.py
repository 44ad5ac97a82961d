"""Checkpoints: the state of a running trial on disk, from which the next worker that runs the trial continues.

A file is a checksum, the step, and what `torch.save` writes of plain values and tensors. Reading it executes nothing
(`weights_only`). A file that is damaged, or that was written with another device, number of threads, version or shape
of the weights, is ignored: the trial then starts anew, since a row describes what the whole trial ran with.
"""

from __future__ import annotations

import io
import os
import pickle
import shutil
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bilin.errors import one_line
from bilin.folder import SweepFolder, partial_of
from bilin.record import CurvePoint, Rung
from bilin.registry import package_of
from bilin.spec import TrialSpec
from bilin.version import __version__

if TYPE_CHECKING:
    from bilin.workers.training.state import TrialState

CHECKSUM_BYTES, STEP_BYTES = 4, 8


@dataclass(slots=True)
class Clock:
    """Counts the seconds that led to where a trial is, over all workers that had it.

    As a context it counts what runs in it. What several trials compute together counts in equal shares.
    """

    started_at: float = field(default_factory=time.time)
    counted_s: float = 0.0
    _since: float | None = None

    def seconds(self) -> float:
        """Return the seconds up to now."""
        return self.counted_s + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def add(self, seconds: float) -> None:
        """Count seconds."""
        self.counted_s += seconds

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        self.counted_s, self._since = self.seconds(), None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The step of a checkpoint, and when it was written, in seconds since the epoch."""

    step: int
    at: float


@dataclass(slots=True)
class _Kept:
    """The last checkpoint of a running trial.

    Attributes:
        asked: The number of the last request for one that the trial has seen.
        answered: The number of the last one after which it was written.
    """

    step: int
    asked: int
    answered: int
    at: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Checkpoints:
    """Where trials write checkpoints, and how often. Each process that receives it has its own copy.

    Every worker that may continue a trial must see the sweep's folder.
    """

    sweep: SweepFolder
    period_s: float
    _num_asked: int = 0
    _running: dict[int, _Kept] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __reduce__(self) -> tuple[type[Checkpoints], tuple[SweepFolder, float]]:
        return Checkpoints, (self.sweep, self.period_s)

    def ask(self, timeout_s: float) -> bool:
        """From another thread: have the running trials write checkpoints; return whether they did in time."""
        with self._changed:
            self._num_asked += 1
            number, running = self._num_asked, self._running
            return bool(running) and self._changed.wait_for(
                lambda: all(kept.answered >= number for kept in running.values()), timeout_s
            )

    @contextmanager
    def running(self, spec: TrialSpec, state: TrialState) -> Iterator[None]:
        """While a trial runs; it begins in the state of its checkpoint, if it has one."""
        kept = _read(self.sweep.checkpoint(spec.trial_id))
        if kept is not None and kept.pop("made_by", None) == _maker(spec, state):
            _restore(state, kept)
        with self._changed:
            self._running[id(state)] = _Kept(step=state.step, asked=self._num_asked, answered=self._num_asked)
        try:
            yield
        finally:
            with self._changed:
                del self._running[id(state)]
                self._changed.notify_all()

    def write_if_due(self, spec: TrialSpec, state: TrialState, *, now: bool = False) -> bool:
        """Between two steps: write the state if it is time, ``now`` or asked for; return whether it was written."""
        kept, num_asked = self._running[id(state)], self._num_asked
        was_asked, kept.asked = kept.asked < num_asked, num_asked
        if not (now or was_asked) and time.monotonic() - kept.at < self.period_s:
            return False
        is_newer = state.step > kept.step
        try:
            if is_newer:  # a new file means that the trial has come further
                _write(self.sweep.checkpoint(spec.trial_id), {"made_by": _maker(spec, state), **_plain(state)})
        except OSError as error:  # a full disk: the trial goes on, and what was kept before stays
            print(f"checkpoint not written at step {state.step}: {one_line(error)}", file=sys.stderr)
            is_newer = False
        else:
            with self._changed:
                kept.step, kept.answered = state.step, num_asked
                self._changed.notify_all()
        kept.at = time.monotonic()  # after the write: a slow disk must not fill all of the time
        return is_newer

    def latest(self, trial_id: str) -> Checkpoint | None:
        """Return the checkpoint of a trial, by the first bytes of its file; None if there is none."""
        try:
            with self.sweep.checkpoint(trial_id).open("rb") as file:
                head = file.read(CHECKSUM_BYTES + STEP_BYTES)
                at = os.fstat(file.fileno()).st_mtime
        except OSError:
            return None
        return Checkpoint(int.from_bytes(head[CHECKSUM_BYTES:]), at)

    def drop(self, trial_ids: Iterable[str]) -> None:
        """Remove the checkpoints of trials that have ended."""
        for trial_id in trial_ids if self.sweep.checkpoints.exists() else ():
            with suppress(OSError):  # one that stays is never read: its trial has a row
                self.sweep.checkpoint(trial_id).unlink()

    def drop_partial(self) -> None:
        """Remove the files that killed workers left half written; only while no other launch runs the sweep."""
        for partial in self.sweep.partial_checkpoints():
            partial.unlink(missing_ok=True)

    def clear(self, *, everything: bool) -> None:
        """Remove the folder if it is empty, or with ``everything`` in it: then no trial is left that could continue."""
        if everything:
            shutil.rmtree(self.sweep.checkpoints, ignore_errors=True)
        else:
            with suppress(OSError):
                self.sweep.checkpoints.rmdir()


def _maker(spec: TrialSpec, state: TrialState) -> dict[str, Any]:
    """What the bits of a trial depend on beside its spec; shapes show code that changed within a version."""
    import torch

    return {
        "trial_id": spec.trial_id,
        "device": state.loss_sum.device.type,
        "threads": spec.resources.threads,
        "torch": str(torch.__version__),
        "bilin": __version__,
        "packages": [package_of(type(block)) for block in (spec.cell.task, spec.cell.model)],
        "shapes": {name: list(weight.shape) for name, weight in state.model.state_dict().items()},
    }


def _plain(state: TrialState) -> dict[str, Any]:
    import torch

    on_gpu = state.loss_sum.device.type == "cuda"
    return {
        "draws": [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if on_gpu else [])],
        # copies: of a part of a stack, torch would write the whole
        "model": {name: weight.clone() for name, weight in state.model.state_dict().items()},
        "means": state.means,
        "squares": state.squares,
        "loss_sum": state.loss_sum,
        "lr": state.lr,
        "step": state.step,
        "curve": [tuple(point) for point in state.curve],
        "rungs": [tuple(rung) for rung in state.rungs],
        "accuracies": state.accuracies,
        "started_at": state.clock.started_at,
        "seconds": state.clock.seconds(),
    }


def _restore(state: TrialState, kept: Mapping[str, Any]) -> None:
    import torch

    for set_state, drawn in zip((torch.set_rng_state, torch.cuda.set_rng_state), kept.get("draws", ()), strict=False):
        set_state(drawn)
    state.model.load_state_dict(kept["model"])
    for name in ("means", "squares"):
        for own, value in zip(getattr(state, name), kept[name], strict=True):
            own.copy_(value)
    state.loss_sum.copy_(kept["loss_sum"])
    state.lr, state.step = kept["lr"], kept["step"]
    state.curve = [CurvePoint(*point) for point in kept["curve"]]
    state.rungs = [Rung(*rung) for rung in kept.get("rungs", ())]
    state.accuracies = kept["accuracies"]
    state.clock.started_at, state.clock.counted_s = kept["started_at"], kept["seconds"]


def _write(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file in one step: a crash leaves it or the one before."""
    import torch

    content = io.BytesIO()
    content.write(values["step"].to_bytes(STEP_BYTES))
    torch.save(values, content)
    beside = partial_of(path, unique=True)
    path.parent.mkdir(exist_ok=True)
    try:
        with beside.open("wb") as file:
            file.write(zlib.crc32(content.getbuffer()).to_bytes(CHECKSUM_BYTES))
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink()


def _read(path: Path) -> dict[str, Any] | None:
    import torch

    try:
        content = memoryview(path.read_bytes())
    except OSError:  # missing, or not readable
        return None
    checksum, rest = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
    if zlib.crc32(rest).to_bytes(CHECKSUM_BYTES) != bytes(checksum):
        return None
    try:
        values: dict[str, Any] = torch.load(io.BytesIO(rest[STEP_BYTES:]), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):  # intact, but not written by `_write`
        return None
    return values if isinstance(values, dict) else None
