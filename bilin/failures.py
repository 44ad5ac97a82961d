"""The classes of failure, which are statuses of trials: what puts a trial in a class, and what follows.

Standard library only: errors of torch are recognized by name and text, since importing torch may be what failed.
"""

from __future__ import annotations

import errno
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bilin.errors import text_of
from bilin.record import RERUN_STATUSES, Status, TrialResult

MAX_ATTEMPTS = 3
"""Number of times that a launch starts a trial whose worker is lost or whose hardware fails."""

MAX_SAME_ERRORS = 10
"""Failures with the same error, and no success between, that stop a sweep: the code is at fault, not the cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What follows for the trials of one class.

    Attributes:
        what: What happened to the trial.
        then: What bilin does about it, and what the user can do.
        attempts: Number of times a launch starts the trial before it stores this class as its status.
        elsewhere: Whether the trial starts again on another node, if there is one.
        keeps_checkpoint: Whether the checkpoint is kept for the next run.
    """

    what: str
    then: str
    attempts: int = 1
    elsewhere: bool = False
    keeps_checkpoint: bool = False


RULES: Mapping[Status, Rule] = {
    "lost": Rule(
        what="its worker or node died or stopped answering",
        then="it runs again on another worker, with at most three starts in one launch; "
        "the next launch runs it again without --retry",
        attempts=MAX_ATTEMPTS,
        keeps_checkpoint=True,
    ),
    "hardware": Rule(
        what="a device or its node failed: a CUDA hardware error, an NCCL error, or a bus error",
        then="it runs again in a new worker, on another node if there is one, with at most three starts in one "
        "launch; after that, use --retry hardware",
        attempts=MAX_ATTEMPTS,
        elsewhere=True,
        keeps_checkpoint=True,
    ),
    "oom": Rule(
        what="it needed more memory than there was, or its worker was killed because its node ran out of memory",
        then="it does not run again at the same size; give it more memory or run fewer trials per node, "
        "then use --retry oom",
    ),
    "failed": Rule(
        what="its task, its tier or its settings raised an error",
        then="it does not run again; fix the cause, then use --retry failed. "
        f"The sweep stops after {MAX_SAME_ERRORS} trials in a row with the same error",
    ),
    "internal": Rule(
        what="bilin's own code raised an error: a bug in bilin",
        then="it does not run again; please report it with the traceback, and use --retry internal after an update",
    ),
    "diverged": Rule(
        what="its loss was not finite",
        then="this is its result, and counts as the worst one; it does not run again",
    ),
}
"""The rules, by status. Only ``done`` has none."""

RETRYABLE: frozenset[Status] = frozenset({"failed", "oom", "hardware", "internal"})
"""Statuses whose trials run again only with ``--retry``."""

assert RETRYABLE.isdisjoint(RERUN_STATUSES)

_MEMORY = (
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "out of memory. Tried to allocate",
    "MPS backend out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Texts of torch's allocators in a plain RuntimeError."""

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
"""Texts in a RuntimeError of torch when a device fails. Neither `device-side assert triggered` nor `an illegal memory
access` is one of them: those come from the code of a tier or task."""

_BUS_ERROR = ("Fatal Python error: Bus error", "*** SIGBUS received")
"""What Python and Ray print when they die of SIGBUS."""

_CONTEXT_GONE = ("CUDA error", "HIP error")


_FRAME = re.compile(r'File "([^"<][^"]*)", line (\d+)(?:, in (.+))?$', re.MULTILINE)
"""A frame of a traceback, and its file, line and function."""

_LIBRARY = re.compile(r"/(?:site|dist)-packages/(?:torch|numpy)/|/lib/python3\.\d+/(?!(?:site|dist)-packages/)")
"""What the path of a file of torch, of NumPy or of Python's standard library has."""

_PACKAGE = Path(__file__).parent


class UnknownCulpritError(Exception):
    """What all trials of a pack raise if an error of one of them makes every later call in the process fail."""


def spoils_process(error: BaseException) -> bool:
    """Return whether an error of the code of a trial makes every later call in its process fail."""
    return class_of(error, own=False) == "failed" and _contains(text_of(error), _CONTEXT_GONE)


def class_of(error: BaseException, *, own: bool) -> Status:
    """Return the class of an error that a trial raised; ``own`` says that its task and tier are both bilin's own."""
    if isinstance(error, UnknownCulpritError):
        return "lost"
    causes = list(_causes(error))
    if any(map(_is_memory, causes)):
        return "oom"
    if any(isinstance(cause, RuntimeError) and _contains(text_of(cause), _HARDWARE) for cause in causes):
        return "hardware"
    of_code = not isinstance(error, OSError | ImportError)  # the disk, or the worker's Python, is at fault
    return "internal" if own and of_code and _raised_in_bilin(error.__traceback__) else "failed"


def class_of_death(last_words: str, *, out_of_memory: bool) -> Status:
    """Return the class of a trial whose worker died, from the last output of its process.

    ``out_of_memory`` says that the process is known to have been killed for lack of memory.
    """
    if out_of_memory:
        return "oom"
    return "hardware" if _contains(last_words, _BUS_ERROR) else "lost"


def ends_worker(result: TrialResult) -> bool:
    """Return whether the process that a result comes from must not run another trial.

    After most CUDA errors every call in that process fails, and after running out of memory some of it may still be
    held.
    """
    return result.status in ("hardware", "oom") or _contains(result.error or "", _CONTEXT_GONE)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that, and so on."""
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
    return isinstance(error, RuntimeError) and _contains(text_of(error), _MEMORY)


def _contains(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


def _raised_in_bilin(trace: TracebackType | None) -> bool:
    """Return whether the innermost frame outside the standard library is in bilin."""
    packages = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame, _ in traceback.walk_tb(trace)]
    return next((name for name in reversed(packages) if name not in sys.stdlib_module_names), "") == "bilin"


def error_key(result: TrialResult) -> str:
    """Return what two trials share that failed with the same error.

    That is the kind of error and the place where it was raised; or its text, if the place is not known.
    """
    places = [line for line in (result.traceback or "").splitlines() if line.lstrip().startswith("File ")]
    kind = (result.error or "").partition(":")[0]
    return f"{kind} at {places[-1].strip()}" if places else (result.error or result.status)


def place_of(traceback: str | None) -> str | None:
    """Return the file, line and function where the user's code failed, from the text of a traceback.

    That is the last frame outside torch, bilin and Python's own library; the last of all if there is none.
    """
    frames = list(_FRAME.finditer(traceback or ""))
    users = [frame for frame in frames if not _LIBRARY.search(frame[1]) and not _is_own(frame[1])]
    if not frames:
        return None
    path, line, function = (users or frames)[-1].groups()
    return f"{path}:{line}" + (f", in {function}" if function else "")


def _is_own(path: str) -> bool:
    """Return whether a file is bilin's own, here or on a node where bilin is installed elsewhere."""
    _, folder, inside = path.rpartition("/bilin/")
    return bool(folder) and (_PACKAGE / inside).is_file()
