"""Torch as a trial expects it, whatever ran in the process before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@contextmanager
def own_torch(threads: int, seed: int, device: torch.device) -> Iterator[None]:
    """Torch's settings for the whole process at what they are in a fresh one, and afterwards as they were.

    A tier of another package may change them in `build`, and a notebook before a launch; then the next trial, or
    the same trial in another process, would give other numbers. Such a tier may also draw from torch's global
    generator as it trains, as dropout does: it begins from ``seed``.
    """
    import torch

    cuda = [torch.cuda.current_device()] if device.type == "cuda" else []
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    precision, num_threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    try:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(threads)
        with torch.enable_grad(), torch.random.fork_rng(devices=cuda):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_default_device(device)
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(num_threads)
