"""What puts a trial in a class of failure."""

from __future__ import annotations

import errno
import json
from typing import get_args

import pytest
import torch

from bilin.errors import one_line, plain
from bilin.failures import RETRYABLE, RULES, class_of, class_of_death, ends_worker, place_of
from bilin.record import RERUN_STATUSES, RESULT_STATUSES, Status, TrialResult
from bilin.rules import mean_score


def raised(error: BaseException) -> BaseException:
    try:
        raise error  # noqa: TRY301
    except BaseException as caught:
        return caught


def cuda(text: str) -> RuntimeError:
    return torch.AcceleratorError(f"CUDA error: {text}\nCUDA kernel errors might be asynchronously reported")


CLASSES = [
    (MemoryError(), "oom"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "oom"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "oom"),
    (cuda("out of memory"), "oom"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "oom"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "oom"),
    (cuda("uncorrectable ECC error encountered"), "hardware"),
    (cuda("unspecified launch failure"), "hardware"),
    (cuda("no CUDA-capable device is detected"), "hardware"),
    (RuntimeError("No CUDA GPUs are available"), "hardware"),
    (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp:2029, remote process exited"), "hardware"),
    (cuda("device-side assert triggered"), "failed"),
    (cuda("an illegal memory access was encountered"), "failed"),
    (ValueError("uncorrectable ECC error"), "failed"),
    (OSError(errno.ENOSPC, "No space left on device"), "failed"),
    (SystemExit(3), "failed"),
]


@pytest.mark.parametrize(("error", "status"), CLASSES, ids=lambda value: str(value)[:30])
def test_an_error_has_its_class(error: BaseException, status: Status) -> None:
    assert class_of(raised(error), own=True) == status


def test_what_an_error_was_raised_from_counts() -> None:
    outer = RuntimeError("the batch cannot be made")
    outer.__cause__ = MemoryError()
    assert class_of(raised(outer), own=True) == "oom"


def test_an_error_in_bilins_own_code_is_its_own_but_where_another_package_takes_part() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        mean_score([])
    assert class_of(caught.value, own=True) == "internal"
    assert class_of(caught.value, own=False) == "failed"


def test_an_error_of_the_standard_library_is_of_who_called_it() -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    assert class_of(caught.value, own=True) == "failed"


@pytest.mark.parametrize(
    ("last_words", "out_of_memory", "status"),
    [
        ("Fatal Python error: Bus error\n\nCurrent thread", False, "hardware"),
        ("*** SIGBUS received at time=1 on cpu 0 ***", False, "hardware"),
        ("Fatal Python error: Segmentation fault", False, "lost"),
        ("", True, "oom"),
        ("", False, "lost"),
    ],
)
def test_a_death_has_its_class(last_words: str, out_of_memory: bool, status: Status) -> None:
    assert class_of_death(last_words, out_of_memory=out_of_memory) == status


@pytest.mark.parametrize(
    ("error", "status", "ends"),
    [
        (cuda("uncorrectable ECC error encountered"), "hardware", True),
        (cuda("device-side assert triggered"), "failed", True),
        (MemoryError(), "oom", True),
        (ValueError("no"), "failed", False),
    ],
)
def test_a_process_with_a_broken_device_runs_nothing_more(error: BaseException, status: Status, ends: bool) -> None:
    assert ends_worker(TrialResult(trial_id="0", status=status, error=one_line(error))) is ends


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[1;38;5;9mred\x1b[m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b(Btext\x1b7", "text"),
        ("a\nb\tc", "a\nb\tc"),
        ("a\rb\x07\x00\x9b31m", r"a\x0db\x07\x00\x9b31m"),
        ("\x1b", r"\x1b"),
        ("\udcff", r"\udcff"),
    ],
)
def test_a_terminal_obeys_nothing_in_the_text_of_an_error(text: str, expected: str) -> None:
    assert plain(text) == expected
    assert one_line(ValueError(text)).isprintable()


def test_every_status_has_its_rule() -> None:
    assert {"done", "pruned", *RULES} == set(get_args(Status))
    assert set(get_args(Status)) == RETRYABLE | RERUN_STATUSES | RESULT_STATUSES


@pytest.mark.parametrize(
    ("paths", "place"),
    [
        (
            ["/opt/bilin/workers/trial.py", "/home/me/mine.py", "/x/site-packages/torch/nn/linear.py"],
            "/home/me/mine.py",
        ),
        (["/home/me/mine.py", "/x/site-packages/bilin/models/layers.py"], "/home/me/mine.py"),
        (["/home/me/mine.py", "/usr/lib/python3.12/json/decoder.py"], "/home/me/mine.py"),
        (["/usr/lib/python3.12/site-packages/mine.py", "<string>"], "/usr/lib/python3.12/site-packages/mine.py"),
        (["/home/me/bilin/mine.py"], "/home/me/bilin/mine.py"),
        (["/opt/bilin/workers/trial.py"], "/opt/bilin/workers/trial.py"),
    ],
)
def test_the_place_of_an_error_is_the_last_line_of_the_users_code(paths: list[str], place: str) -> None:
    frames = [f'  File "{path}", line {number}, in step\n    y = f(x)\n' for number, path in enumerate(paths)]
    text = "Traceback (most recent call last):\n" + "".join(frames) + "ValueError: no\n"
    assert place_of(text) == f"{place}:{paths.index(place)}, in step"


def test_an_error_without_a_traceback_has_no_place() -> None:
    assert place_of(None) is None
    assert place_of("connection reset") is None
