"""How well a model does: at one length, and at an evaluation while it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from bilin.models.module import SequenceModel
from bilin.record import CurvePoint, LengthResult
from bilin.spec import Cell, TrialSpec, derive_seed
from bilin.tasks import Task
from bilin.workers.state import task_of

TOKENS_AT_ONCE = 2**19
"""Sequences are drawn and run in parts of so many tokens, which bounds the memory whatever their number.

A part of what is measured: other parts draw other sequences.
"""


@dataclass(frozen=True, slots=True)
class Score:
    """What a model makes of fresh sequences.

    Attributes:
        loss: Mean cross-entropy of the answers, in nats, infinite where it is not finite: at the last token of
            each sequence alone, whatever the supervision in training.
        num_correct: How many answers were right; one with a logit that is not finite never is.
    """

    loss: float
    num_correct: int
    num_sequences: int

    @property
    def accuracy(self) -> float:
        """The share of right answers, from 0 to 1."""
        return self.num_correct / self.num_sequences


@torch.no_grad()
def evaluate(
    model: SequenceModel, task: Task, *, lengths: tuple[int, ...], num_sequences: int, generator: torch.Generator
) -> Score:
    """Run a model, in evaluation mode, on fresh sequences: of all lengths from ``lengths[0]`` to ``lengths[1]``."""
    model.eval()
    shortest, longest = lengths
    loss, num_correct, left = 0.0, 0, num_sequences
    while left:
        size = min(left, max(1, TOKENS_AT_ONCE // longest))
        drawn = torch.randint(shortest, longest + 1, (size,), generator=generator, device=generator.device)
        batch = task.sample(drawn, generator)
        at_once = max(1, model.tokens_at_once // batch.tokens.shape[1])
        parts = zip(batch.tokens.split(at_once), batch.num_tokens.split(at_once), strict=True)
        logits, answers = torch.cat([model(*part) for part in parts]), batch.answers
        loss += nn.functional.cross_entropy(logits, answers, reduction="sum").item()
        right = (logits.argmax(1) == answers) & logits.isfinite().all(1)
        num_correct += int(right.sum())
        left -= size
    return Score(loss / num_sequences if math.isfinite(loss) else math.inf, num_correct, num_sequences)


def validate(
    cell: Cell, model: SequenceModel, *, seed: int, step: int, complete: bool, device: torch.device
) -> list[CurvePoint]:
    """One evaluation: the training lengths, then the validation lengths from the shortest up.

    Each length at each step has a generator of its own, so that looking more often changes nothing. At the
    first length at which not every answer was right it ends, unless it is to be ``complete``.

    Returns:
        One point a length that was looked at; the training lengths first.
    """
    points: list[CurvePoint] = []
    for length in (None, *sorted(set(cell.validate.lengths))):
        score = evaluate(
            model,
            task_of(cell),
            lengths=cell.train.lengths if length is None else (length, length),
            num_sequences=cell.validate.num_sequences,
            generator=_generator(device, cell.cell_id, seed, "validate", step, length),
        )
        points.append(CurvePoint(step, length, score.loss, score.accuracy))
        if score.accuracy < 1.0 and not complete:
            break
    return points


def run_test(spec: TrialSpec, model: SequenceModel, *, device: torch.device) -> tuple[LengthResult, ...]:
    """The tested lengths, each on data of its own."""
    task, results = task_of(spec.cell), []
    for length in spec.test.lengths:
        score = evaluate(
            model,
            task,
            lengths=(length, length),
            num_sequences=spec.test.num_sequences,
            generator=_generator(device, spec.cell.cell_id, spec.seed, "test", length),
        )
        results.append(LengthResult(length, score.num_correct, score.num_sequences, task.num_classes))
    return tuple(results)


def _generator(device: torch.device, *purpose: object) -> torch.Generator:
    return torch.Generator(device).manual_seed(derive_seed(*purpose))
