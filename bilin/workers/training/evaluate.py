"""How well a model does: at one length, and at an evaluation while it trains."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bilin.models.module import SequenceModel
from bilin.record import CurvePoint, LengthResult
from bilin.spec import Cell, TrialSpec, derive_seed
from bilin.tasks import IGNORED, Batch, Task
from bilin.workers.training.batches import sample
from bilin.workers.training.state import task_of

TOKENS_AT_ONCE = 2**19
"""Sequences are drawn and run in parts of so many tokens, which bounds the memory whatever their number.

A part of what is measured: other parts draw other sequences.
"""


TOKENS_OF_ALL_AT_ONCE, LOGITS_AT_ONCE = 2**17, 2**24
"""Where all labels are looked at, so many tokens and logits are held at most at a time."""


@dataclass(slots=True)
class Score:
    """What a model makes of fresh sequences.

    A label counts as told where the greatest logit is its own and all are finite.

    Attributes:
        loss_sum: Sum of the cross-entropies of the labels that were looked at, in nats.
        num_labels: How many that were.
        num_correct: Sequences whose last label was told, which is their answer.
        num_sequences_right: Sequences whose every label was told, of those that were looked at.
    """

    num_sequences: int = 0
    num_labels: int = 0
    loss_sum: float = 0.0
    num_correct: int = 0
    num_sequences_right: int = 0

    @property
    def loss(self) -> float:
        """The mean cross-entropy, infinite where it is not finite."""
        return self.loss_sum / self.num_labels if math.isfinite(self.loss_sum) else math.inf

    @property
    def accuracy(self) -> float:
        """The share of sequences that were right, from 0 to 1: with all labels that were looked at."""
        return self.num_sequences_right / self.num_sequences

    def add(
        self,
        logits: Float[Tensor, "batch time classes"],
        targets: Int[Tensor, "batch time"],
        num_tokens: Int[Tensor, " batch"],
    ) -> None:
        """Count sequences; logits at times without a label mean nothing."""
        labelled = targets != IGNORED
        told = (logits.argmax(2) == targets) & logits.isfinite().all(2)
        self.num_sequences += len(targets)
        self.num_labels += int(labelled.sum())
        self.loss_sum += nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
        self.num_correct += int(told.gather(1, num_tokens[:, None] - 1).sum())
        self.num_sequences_right += int((told | ~labelled).all(1).sum())


@torch.no_grad()
def evaluate(
    model: SequenceModel,
    task: Task,
    *,
    lengths: tuple[int, ...],
    num_sequences: int,
    generator: torch.Generator,
    every_token: bool,
) -> Score:
    """Run a model, in evaluation mode, on fresh sequences.

    Args:
        model: The model.
        task: What it is asked.
        lengths: The shortest and the longest; all between them come.
        num_sequences: How many sequences.
        generator: The only source of randomness.
        every_token: Whether to look at all labels of a sequence, or at its answer alone.
    """
    model.eval()
    shortest, longest = lengths
    score = Score()
    while score.num_sequences < num_sequences:
        size = min(num_sequences - score.num_sequences, max(1, TOKENS_AT_ONCE // longest))
        drawn = torch.randint(shortest, longest + 1, (size,), generator=generator, device=generator.device)
        batch = sample(task, drawn, generator, look=score.num_sequences == 0)
        if every_token:
            _look_at_all(model, task, batch, score)
        else:
            _look_at_answers(model, batch, score)
    return score


def _look_at_answers(model: SequenceModel, batch: Batch, score: Score) -> None:
    at_once = max(1, model.tokens_at_once // batch.tokens.shape[1])
    parts = zip(batch.tokens.split(at_once), batch.num_tokens.split(at_once), strict=True)
    logits = torch.cat([model(*part) for part in parts])
    score.add(logits[:, None], batch.answers[:, None], torch.ones_like(batch.num_tokens))


def _look_at_all(model: SequenceModel, task: Task, batch: Batch, score: Score) -> None:
    tokens_at_once = min(model.tokens_at_once, TOKENS_OF_ALL_AT_ONCE, LOGITS_AT_ONCE // task.num_classes)
    at_once = max(1, tokens_at_once // batch.tokens.shape[1])
    whole = (batch.tokens, batch.targets, batch.num_tokens)
    for tokens, targets, num_tokens in zip(*(tensor.split(at_once) for tensor in whole), strict=True):
        score.add(model(tokens, num_tokens, every_token=True), targets, num_tokens)


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
            every_token=task_of(cell).own_supervision == "every_token",
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
            every_token=True,
        )
        counts = score.num_correct, score.num_sequences, task.num_classes, score.num_sequences_right
        results.append(LengthResult(length, *counts))
    return tuple(results)


def _generator(device: torch.device, *purpose: object) -> torch.Generator:
    return torch.Generator(device).manual_seed(derive_seed(*purpose))
