"""Measures a model on fresh sequences: while it trains, and at each tested length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bilin.models.module import SequenceModel
from bilin.record import MIXED_LENGTHS, CurvePoint, LengthResult
from bilin.spec import Cell, TrialSpec, derive_seed
from bilin.tasks import IGNORED, Task
from bilin.workers.training.batches import sample
from bilin.workers.training.pack import Work
from bilin.workers.training.state import task_of
from bilin.workers.training.step import Forward

TOKENS_PER_EVALUATION = 2**19
"""Sequences are drawn and run in parts of so many tokens, which bounds the memory for any number of sequences.

The value is part of what is measured: parts of another size would draw other sequences.
"""


TOKENS_OF_ALL_AT_ONCE, LOGITS_AT_ONCE = 2**17, 2**24
"""If all labels are scored, at most so many tokens and logits are held at a time."""


@dataclass(slots=True)
class Score:
    """How well a model predicts fresh sequences.

    A prediction is correct if the largest logit is that of the label, and all logits are finite.

    Attributes:
        loss_sum: Sum of the cross-entropies of the scored labels, in nats.
        num_labels: Number of scored labels.
        num_correct: Sequences with a correct prediction of their last label, which is their answer.
        num_sequences_right: Sequences with correct predictions of all scored labels.
        num_nonfinite: Sequences with a logit that is not finite, for a scored label.
    """

    num_sequences: int = 0
    num_labels: int = 0
    loss_sum: float = 0.0
    num_correct: int = 0
    num_sequences_right: int = 0
    num_nonfinite: int = 0

    @property
    def loss(self) -> float:
        """The mean cross-entropy; infinite if it is not finite."""
        return self.loss_sum / self.num_labels if math.isfinite(self.loss_sum) else math.inf

    @property
    def accuracy(self) -> float:
        """The share of sequences, from 0 to 1, of which all scored labels were predicted correctly."""
        return self.num_sequences_right / self.num_sequences

    def add(
        self,
        logits: Float[Tensor, "batch time classes"],
        targets: Int[Tensor, "batch time"],
        num_tokens: Int[Tensor, " batch"],
    ) -> None:
        """Score sequences; logits at times without a label are not used."""
        labelled, is_finite = targets != IGNORED, logits.isfinite().all(2)
        is_correct = (logits.argmax(2) == targets) & is_finite
        self.num_sequences += len(targets)
        self.num_labels += int(labelled.sum())
        self.loss_sum += nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
        self.num_correct += int(is_correct.gather(1, num_tokens[:, None] - 1).sum())
        self.num_sequences_right += int((is_correct | ~labelled).all(1).sum())
        self.num_nonfinite += int((labelled & ~is_finite).any(1).sum())


def evaluate(
    model: SequenceModel,
    task: Task,
    *,
    lengths: tuple[int, ...],
    num_sequences: int,
    generator: torch.Generator,
    every_token: bool,
    one_longest: bool = False,
) -> Work[Score]:
    """Run a model, in evaluation mode, on fresh sequences from the shortest to the longest of two ``lengths``.

    With ``every_token``, score all labels of a sequence, otherwise only its answer. With ``one_longest``, the first
    sequence has the longest length, so that all evaluations have one shape, and those of a pack are computed together.
    """
    shortest, longest = lengths
    score = Score()
    while score.num_sequences < num_sequences:
        size = min(num_sequences - score.num_sequences, max(1, TOKENS_PER_EVALUATION // longest))
        drawn = torch.randint(shortest, longest + 1, (size,), generator=generator, device=generator.device)
        if one_longest:
            drawn[0] = longest
        batch = sample(task, drawn, generator, look=score.num_sequences == 0)
        tokens_at_once = model.tokens_at_once
        if every_token:
            tokens_at_once = min(tokens_at_once, TOKENS_OF_ALL_AT_ONCE, LOGITS_AT_ONCE // task.num_classes)
        at_once = max(1, tokens_at_once // batch.tokens.shape[1])
        whole = (batch.tokens, batch.targets, batch.num_tokens)
        parts = zip(*(tensor.split(at_once) for tensor in whole), strict=True)
        if every_token:
            for tokens, targets, num_tokens in parts:
                logits = yield Forward(model, tokens, num_tokens, every_token=True)
                score.add(logits, targets, num_tokens)
        else:
            of_parts = []
            for tokens, _, num_tokens in parts:
                of_parts.append((yield Forward(model, tokens, num_tokens, every_token=False)))
            logits = torch.cat(of_parts)
            score.add(logits[:, None], batch.answers[:, None], torch.ones_like(batch.num_tokens))
    return score


def validate(
    cell: Cell, model: SequenceModel, *, seed: int, step: int, complete: bool, device: torch.device
) -> Work[list[CurvePoint]]:
    """Evaluate at the training lengths, at the validation lengths from the shortest up, and at mixed lengths.

    Each length at each step has a generator of its own, so that evaluating more often changes nothing. The evaluation
    stops at the first length with an accuracy below 1, unless it must be ``complete``.

    Returns:
        One point for each entry of `validated_lengths` that was evaluated.
    """
    points: list[CurvePoint] = []
    for length, lengths in validated_lengths(cell).items():
        score = yield from evaluate(
            model,
            task_of(cell),
            lengths=lengths,
            num_sequences=cell.validate.num_sequences,
            generator=_generator(device, cell.cell_id, seed, "validate", step, length),
            every_token=task_of(cell).own_supervision == "every_token",
            one_longest=length == MIXED_LENGTHS,
        )
        points.append(CurvePoint(step, length, score.loss, score.accuracy))
        if score.accuracy < 1.0 and not complete:
            break
    return points


def validated_lengths(cell: Cell) -> Mapping[int | None, tuple[int, int]]:
    """Return the shortest and longest length of each evaluation, in their order, by what `CurvePoint` calls it."""
    shortest, longest = cell.train.lengths
    found: dict[int | None, tuple[int, int]] = {None: (shortest, longest)}
    found |= {length: (length, length) for length in sorted(set(cell.validate.lengths))}
    return found | {MIXED_LENGTHS: cell.mixed_lengths} if cell.mixed_lengths else found


def run_test(
    spec: TrialSpec, model: SequenceModel, *, lengths: Sequence[int], device: torch.device
) -> Work[tuple[LengthResult, ...]]:
    """Test some lengths, each on sequences of its own: the result at a length does not depend on the others."""
    task, results = task_of(spec.cell), []
    for length in lengths:
        score = yield from evaluate(
            model,
            task,
            lengths=(length, length),
            num_sequences=spec.test.num_sequences,
            generator=_generator(device, spec.cell.cell_id, spec.seed, "test", length),
            every_token=True,
        )
        counts = score.num_correct, score.num_sequences, task.num_classes, score.num_sequences_right
        results.append(LengthResult(length, *counts, score.num_nonfinite))
    return tuple(results)


def _generator(device: torch.device, *purpose: object) -> torch.Generator:
    return torch.Generator(device).manual_seed(derive_seed(*purpose))
