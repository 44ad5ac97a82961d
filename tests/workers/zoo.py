"""A tier that misbehaves: what the code of a trial may raise, and what it may do to its process."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from bilin.fields import option
from bilin.models import Tier
from bilin.models.module import SequenceModel
from bilin.models.recurrent.lstm import LSTM
from bilin.record import TrialResult
from bilin.spec import TrialSpec
from bilin.workers.events import Report, TrialCancelled
from bilin.workers.training.checkpoint import Checkpoints
from bilin.workers.trial import run_trial

Act = Callable[[], object]


class NoTextError(RuntimeError):
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class StopsError(Exception):
    def __str__(self) -> str:
        raise StopBase

    __repr__ = __str__


class StopBase(BaseException):
    """As some training loops raise to end early."""


class HoldsLambdaError(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__(lambda: 0)
        self.lock = threading.Lock()


class AttributesRaiseError(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise StopBase


def raises(error: Callable[[], BaseException]) -> Act:
    def act() -> None:
        raise error()

    return act


def recurses() -> None:
    recurses()


RAISING: dict[str, Act] = {
    "error without a text": raises(NoTextError),
    "error whose text raises no Exception": raises(StopsError),
    "error whose attributes raise": raises(AttributesRaiseError),
    "error that cannot be pickled": raises(HoldsLambdaError),
    "no Exception": raises(lambda: StopBase("early stopping")),
    "exit": lambda: sys.exit(3),
    "interrupt of its own": raises(KeyboardInterrupt),
    "cancellation of its own": raises(TrialCancelled),
    "generator exit": raises(GeneratorExit),
    "cancelled coroutine": raises(asyncio.CancelledError),
    "group": raises(lambda: BaseExceptionGroup("several", [StopBase(), ValueError("one")])),
    "recursion": recurses,
    "no gradients": lambda: torch.set_grad_enabled(False),
}
"""What fails its trial."""


def replaces_streams() -> None:
    sys.stdout = sys.__stdout__ = None  # type: ignore[misc]
    sys.stderr = io.StringIO()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 1)


def closes_streams() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        stream.close()
    sys.stdout.buffer.close()


def removes_folder() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)


def handles_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.alarm(1)


def sets_torch() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(7)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.autograd.set_detect_anomaly(True)
    torch.set_float32_matmul_precision("medium")
    torch.set_flush_denormal(True)
    torch.set_autocast_enabled("cpu", True)


def sets_environment() -> None:
    os.environ.clear()
    os.environ.update(OMP_NUM_THREADS="7", HOME="/nowhere")


def sets_logging() -> None:
    logging.disable(logging.CRITICAL)
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)


def sets_hooks() -> None:
    sys.excepthook = lambda *_: None
    threading.excepthook = lambda _: None
    gc.disable()
    socket.setdefaulttimeout(0.001)


QUIET: dict[str, Act] = {
    "well": lambda: None,
    "closed streams": closes_streams,
    "replaced streams": replaces_streams,
    "closed descriptors": lambda: os.closerange(1, 3),
    "folder": lambda: os.chdir("/"),
    "removed folder": removes_folder,
    "environment": sets_environment,
    "signals": handles_signals,
    "alarm": lambda: signal.setitimer(signal.ITIMER_REAL, 100.0),
    "blocked signals": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM]),
    "torch": sets_torch,
    "torch type": lambda: torch.set_default_dtype(torch.float64),
    "torch device": lambda: torch.set_default_device("meta"),
    "generators": lambda: (random.seed(1), np.random.seed(1), torch.rand(3)),
    "warnings": lambda: warnings.simplefilter("error"),
    "recursion limit": lambda: sys.setrecursionlimit(10_000),
    "mask of files": lambda: os.umask(0o777),
    "logging": sets_logging,
    "hooks": sets_hooks,
    "thread": lambda: threading.Thread(target=time.sleep, args=(1.0,), name="left behind").start(),
}
"""What may succeed."""

ACTS = {**RAISING, **QUIET}


@dataclass(frozen=True, slots=True, kw_only=True)
class Zoo(Tier):
    tier: ClassVar[str] = "zoo"
    act: str = option("well", doc="what it does")

    def build(self, *, vocab_size: int, num_classes: int) -> SequenceModel:
        print("it begins")
        ACTS[self.act]()
        return LSTM(hidden=self.hidden).build(vocab_size=vocab_size, num_classes=num_classes)


def process_state() -> dict[str, object]:
    """What a trial must leave as it was."""
    is_main = threading.current_thread() is threading.main_thread()
    return {
        "streams": (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__, sys.stdout.closed),
        "descriptors": [os.fstat(number).st_ino for number in (0, 1, 2)],
        "folder": Path.cwd(),
        "environment": dict(os.environ),
        "handlers": [signal.getsignal(number) for number in signal.valid_signals()] if is_main else None,
        "timer": signal.getitimer(signal.ITIMER_VIRTUAL),
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0] > 90 and not is_main,
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "torch": (
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_deterministic_debug_mode(),
            torch.is_anomaly_enabled(),
            torch.get_float32_matmul_precision(),
            torch.is_autocast_enabled("cpu"),
            torch.tensor(1e-310, dtype=torch.float64).mul(1.0).item(),
            torch.get_rng_state().tolist(),
        ),
        "generators": (random.getstate(), str(np.random.get_state())),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "recursion": sys.getrecursionlimit(),
        "files": os.umask(os.umask(0o77)),
        "logging": (list(logging.root.handlers), logging.root.level, logging.root.manager.disable),
        "hooks": (sys.excepthook, threading.excepthook, gc.isenabled(), socket.getdefaulttimeout()),
    }


def run_and_compare(spec: TrialSpec, *, report: Report, checkpoints: Checkpoints | None = None) -> TrialResult:
    """Run a trial; what it has changed in its process is in the field for the worker's name."""
    before = process_state()
    result = run_trial(spec, report=report, checkpoints=checkpoints)
    after = process_state()
    changed = ", ".join(name for name, value in before.items() if after[name] != value)
    assert result.environment is not None
    return replace(result, environment=replace(result.environment, worker=changed))
