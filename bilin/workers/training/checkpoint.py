"""Checkpoints: the state of a running trial on disk, from which the next worker that runs the trial continues.

A file is a checksum, the step, and what `torch.save` writes of plain values and tensors. Reading it executes nothing
(`weights_only`). A file that is damaged, or that was written with another device, number of threads, version or shape
of the weights, is ignored: the trial then starts anew, since a row describes what the whole trial ran with.
"""

from __future__ import annotations

import io
import os
import pickle
import secrets
import shutil
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bilin.errors import one_line
from bilin.folder import PARTIAL, SweepFolder
from bilin.record import CurvePoint
from bilin.registry import package_of
from bilin.spec import TrialSpec
from bilin.version import __version__

if TYPE_CHECKING:
    from bilin.workers.training.state import TrialState

CHECKSUM_BYTES, STEP_BYTES = 4, 8


@dataclass(slots=True)
class Clock:
    """Measures how long a trial has run since its first start, over all workers that had it.

    Attributes:
        before_s: Seconds that led to the checkpoint from which it continues; what was lost is not included.
    """

    started_at: float = field(default_factory=time.time)
    before_s: float = 0.0
    _began: float = field(default_factory=time.perf_counter)

    def seconds(self) -> float:
        """Return the seconds that led to where the trial is."""
        return self.before_s + time.perf_counter() - self._began


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The step of a checkpoint, and when it was written, in seconds since the epoch."""

    step: int
    at: float


@dataclass(slots=True)
class Checkpoints:
    """Where trials write checkpoints, and how often. Each process that receives it has its own copy.

    Every worker that may continue a trial must see the sweep's folder.
    """

    sweep: SweepFolder
    period_s: float
    _asked: threading.Event = field(default_factory=threading.Event)
    _kept: threading.Event = field(default_factory=threading.Event)
    _kept_at: float = field(default_factory=time.monotonic)
    _kept_step: int = 0

    def __reduce__(self) -> tuple[type[Checkpoints], tuple[SweepFolder, float]]:
        return Checkpoints, (self.sweep, self.period_s)

    def ask(self, timeout_s: float) -> bool:
        """From another thread: have the running trial write a checkpoint; return whether it did in time."""
        self._kept.clear()
        self._asked.set()
        return self._kept.wait(timeout_s)

    def begin(self, spec: TrialSpec, state: TrialState) -> None:
        """Bring a trial to the state of its checkpoint, if it has one, and start the clock."""
        self._kept_at = time.monotonic()
        kept = _read(self.sweep.checkpoint(spec.trial_id))
        if kept is not None and kept.pop("made_by", None) == _maker(spec, state):
            _restore(state, kept)
        self._kept_step = state.step

    def write_if_due(self, spec: TrialSpec, state: TrialState) -> bool:
        """Between two steps: write the state if it is time, or if it was asked for; return whether it was written."""
        if not self._asked.is_set() and time.monotonic() - self._kept_at < self.period_s:
            return False
        self._asked.clear()
        is_newer = state.step > self._kept_step
        try:
            if is_newer:  # a new file means that the trial has come further
                _write(self.sweep.checkpoint(spec.trial_id), {"made_by": _maker(spec, state), **_plain(state)})
        except OSError as error:  # a full disk: the trial goes on, and what was kept before stays
            print(f"checkpoint not written at step {state.step}: {one_line(error)}", file=sys.stderr)
            is_newer = False
        else:
            self._kept_step = state.step
            self._kept.set()
        self._kept_at = time.monotonic()  # after the write: a slow disk must not fill all of the time
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
        for partial in self.sweep.checkpoints.glob(f"*{PARTIAL}"):
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
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "data": state.data.get_state(),
        "loss_sum": state.loss_sum,
        "lr": state.lr,
        "step": state.step,
        "curve": [tuple(point) for point in state.curve],
        "accuracies": state.accuracies,
        "started_at": state.clock.started_at,
        "seconds": state.clock.seconds(),
    }


def _restore(state: TrialState, kept: Mapping[str, Any]) -> None:
    import torch

    for set_state, drawn in zip((torch.set_rng_state, torch.cuda.set_rng_state), kept.get("draws", ()), strict=False):
        set_state(drawn)
    state.model.load_state_dict(kept["model"])
    state.optimizer.load_state_dict(kept["optimizer"])
    state.data.set_state(kept["data"])
    state.loss_sum.copy_(kept["loss_sum"])
    state.lr, state.step = kept["lr"], kept["step"]
    state.curve = [CurvePoint(*point) for point in kept["curve"]]
    state.accuracies = kept["accuracies"]
    state.clock.started_at, state.clock.before_s = kept["started_at"], kept["seconds"]


def _write(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file in one step: a crash leaves it or the one before."""
    import torch

    content = io.BytesIO()
    content.write(values["step"].to_bytes(STEP_BYTES))
    torch.save(values, content)
    # A random name: a lost worker may write too, and process ids repeat between containers.
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
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
    except (pickle.UnpicklingError, RuntimeError):  # intact, but not written by `_write`
        return None
    return values if isinstance(values, dict) else None
