"""Draws the sequences of a trial, and checks them: a task of another package may return anything."""

from __future__ import annotations

import torch

from bilin.registry import package_of
from bilin.tasks import Batch, Task
from bilin.tasks.task import IGNORED


class TaskError(Exception):
    """A task returned sequences on which no trial can be trained or tested."""


def sample(task: Task, lengths: torch.Tensor, generator: torch.Generator, *, look: bool) -> Batch:
    """Draw one sequence of each length.

    Args:
        task: What draws them.
        lengths: Number of tokens of each sequence.
        generator: The only source of randomness.
        look: Whether to check every token and label, which takes as long as a small training step.

    Raises:
        TaskError: They are not as `bilin.tasks.task.Batch` describes.
    """
    batch = task.sample(lengths, generator)
    if fault := _fault(task, batch, len(lengths), look=look):
        whose = package_of(type(task))
        raise TaskError(f"the task {task.name}{f' of {whose}' if whose else ''} {fault}")
    return batch


def _fault(task: Task, batch: Batch, rows: int, *, look: bool) -> str:
    tokens, targets, num_tokens = batch.tokens, batch.targets, batch.num_tokens
    shapes = [tuple(tensor.shape) for tensor in (tokens, targets, num_tokens)]
    if len(shapes[0]) != 2 or shapes != [(rows, shapes[0][1]), (rows, shapes[0][1]), (rows,)]:
        return f"gave tensors of shapes {shapes}; accepted: ({rows}, time) twice, and ({rows},), for {rows} lengths"
    if not look:
        return ""
    dtypes = {tensor.dtype for tensor in (tokens, targets, num_tokens)}
    if dtypes != {torch.int64}:
        return f"gave {', '.join(sorted(map(str, dtypes)))}; accepted: torch.int64"
    if task.num_classes < 2:
        return f"has {task.num_classes} classes; accepted: at least 2"
    if not ((tokens >= 0) & (tokens < task.vocab_size)).all():
        return f"gave tokens from {tokens.min()} to {tokens.max()}; accepted: 0 to {task.vocab_size - 1}"
    labels = targets[targets != IGNORED]
    if not ((labels >= 0) & (labels < task.num_classes)).all():
        return f"gave labels from {labels.min()} to {labels.max()}; accepted: 0 to {task.num_classes - 1}"
    if not ((num_tokens >= 1) & (num_tokens <= tokens.shape[1])).all():
        return f"gave sequences of {num_tokens.min()} to {num_tokens.max()} tokens; accepted: 1 to {tokens.shape[1]}"
    if (batch.answers == IGNORED).any():
        return "gave sequences without a label after their last token, which is their answer"
    return ""
