"""The classes of failures, which are statuses of trials: what puts a trial in one, and what follows.

Standard library only: what a worker raises is told by its name and text, since importing torch may be what failed.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType

from bilin.record import RERUN_STATUSES, Status, TrialResult

MAX_ATTEMPTS = 3
"""How often a launch starts a trial whose worker is lost, or whose hardware fails."""

MAX_SAME_ERRORS = 10
"""Failures with the same error, none done between, after which a sweep stops: it is the code, not the cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What follows for a trial of a class.

    Attributes:
        what: What happened to it.
        then: What is done about it, and by whom.
        attempts: How often a launch starts it before the class stands in its row.
        elsewhere: Whether it is started again on another node, where there is one.
        goes_on: Whether its checkpoint stays, for when it runs again.
    """

    what: str
    then: str
    attempts: int = 1
    elsewhere: bool = False
    goes_on: bool = False


RULES: Mapping[Status, Rule] = {
    "lost": Rule(
        what="its worker or node died, or fell silent",
        then="it runs again on another worker, three times at most; the next launch runs it without being asked",
        attempts=MAX_ATTEMPTS,
        goes_on=True,
    ),
    "hardware": Rule(
        what="a device or its node failed, such as CUDA's ECC errors and launch failures, NCCL, a bus error",
        then="it runs again with a new worker, on another node where there is one, three times at most; "
        "afterwards only --retry hardware runs it",
        attempts=MAX_ATTEMPTS,
        elsewhere=True,
        goes_on=True,
    ),
    "oom": Rule(
        what="it needs more memory than there is, or its worker was ended since its node had none left",
        then="it does not run again at the same size; give it more, or put fewer on a node, and --retry oom",
    ),
    "failed": Rule(
        what="its task, its tier or its settings raised an error",
        then="it does not run again; mend what raised it, and --retry failed. "
        f"The same error in {MAX_SAME_ERRORS} trials stops the sweep",
    ),
    "internal": Rule(
        what="bilin's own code raised an error, which is a fault of bilin's",
        then="it does not run again; please report it with the traceback, and after an update --retry internal",
    ),
    "diverged": Rule(
        what="its loss was not finite: a numerical failure",
        then="that is its result, and counts as the worst one; nothing runs it again",
    ),
}
"""The statuses of trials that came to no end of their own."""

RETRYABLE: frozenset[Status] = frozenset({"failed", "oom", "hardware", "internal"})
"""Statuses that are left alone unless a launch asks for them."""

assert RETRYABLE.isdisjoint(RERUN_STATUSES)

_MEMORY = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "out of memory. Tried to allocate",
    "MPS backend out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""What torch's allocators say in a plain RuntimeError."""

_HARDWARE = (
    "uncorrectable ECC error",
    "unspecified launch failure",
    "hardware stack error",
    "hardware error",  # of a peer's memory, over NVLink
    "uncorrectable NVLink error",
    "no CUDA-capable device",
    "CUDA-capable device(s) is/are busy or unavailable",
    "No CUDA GPUs are available",
    "Found no NVIDIA driver",
    "CUDA unknown error",
    "CUDA error: unknown error",
    "NCCL error",
    "NCCL failure",
    "ncclSystemError",
    "ncclUnhandledCudaError",
)
"""What torch says in a RuntimeError where a device fails. Neither `device-side assert triggered` nor `an illegal memory
access` is here: those come from the code of a tier or task."""

_BUS_ERROR = ("Fatal Python error: Bus error", "*** SIGBUS received")
"""What Python and Ray write as they die of SIGBUS."""

_CONTEXT_GONE = ("CUDA error", "HIP error")


def class_of(error: BaseException, *, own: bool) -> Status:
    """The class of what a trial raised.

    Args:
        error: What was raised.
        own: Whether the trial's task and tier are bilin's, so that an error of its code is nobody else's.
    """
    causes = list(_causes(error))
    if any(_is_memory(each) for each in causes):
        return "oom"
    if any(isinstance(each, RuntimeError) and _says(str(each), _HARDWARE) for each in causes):
        return "hardware"
    of_code = not isinstance(error, OSError | ImportError)  # those are of the disk, or of the worker's Python
    return "internal" if own and of_code and _raised_in_bilin(error.__traceback__) else "failed"


def class_of_death(last_words: str, *, out_of_memory: bool) -> Status:
    """The class of a trial whose worker died.

    Args:
        last_words: What its process wrote last.
        out_of_memory: Whether it is known that it was ended for want of memory.
    """
    if out_of_memory:
        return "oom"
    return "hardware" if _says(last_words, _BUS_ERROR) else "lost"


def ends_worker(result: TrialResult) -> bool:
    """Whether the process that a result comes from must not run another trial.

    After most of CUDA's errors every call fails in that process, and what did not fit may still hold its memory.
    """
    return result.status in ("hardware", "oom") or _says(result.error or "", _CONTEXT_GONE)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and _says(str(error), _MEMORY)


def _says(text: str, words: tuple[str, ...]) -> bool:
    return any(each in text for each in words)


def _raised_in_bilin(trace: TracebackType | None) -> bool:
    """Whether the innermost code that is not the standard library's is bilin's."""
    packages = []
    while trace is not None:
        packages.append(str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0])
        trace = trace.tb_next
    return next((name for name in reversed(packages) if name not in sys.stdlib_module_names), "") == "bilin"
