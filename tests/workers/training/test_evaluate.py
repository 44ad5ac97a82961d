"""How well a model does on fresh sequences."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from bilin.models.module import SequenceModel
from bilin.record import MIXED_LENGTHS, LengthResult
from bilin.tasks import IGNORED
from bilin.tasks.copying import Copying
from bilin.tasks.modular_addition import ModularAddition
from bilin.workers.training.evaluate import Score, evaluate, run_test, validate, validated_lengths
from bilin.workers.training.pack import alone
from bilin.workers.training.state import start

CPU = torch.device("cpu")
PARITY = ModularAddition(m=2)


class Counts(SequenceModel):
    """Knows the answer of each sequence of at most `limit` tokens; notes every batch."""

    def __init__(self, limit: int, right: float = 1.0) -> None:
        super().__init__()
        self.limit, self.right, self.batches = limit, right, []
        self.readout = torch.nn.Identity()

    def advance(self, tokens, state=None):
        logits = self.right * torch.nn.functional.one_hot(tokens.cumsum(1) % 2, 2).float()
        logits[:, self.limit :] *= -1
        return logits, None

    def forward(self, tokens, num_tokens, *, every_token=False):
        self.batches.append((tokens, num_tokens))
        return super().forward(tokens, num_tokens, every_token=every_token)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_score_counts_right_answers_and_means_the_loss():
    score = alone(
        evaluate(Counts(3), PARITY, lengths=(1, 4), num_sequences=1000, generator=seeded(), every_token=False)
    )
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    assert 650 < score.num_correct < 850
    assert score.accuracy == score.num_correct / 1000
    assert score.loss == pytest.approx(score.accuracy * right + (1 - score.accuracy) * wrong, rel=1e-5)


def test_lengths_are_mixed_from_the_shortest_to_the_longest():
    model = Counts(9)
    alone(evaluate(model, PARITY, lengths=(2, 5), num_sequences=200, generator=seeded(), every_token=False))
    assert set(model.batches[0][1].tolist()) == {2, 3, 4, 5}


@pytest.mark.parametrize(("at_once", "parts"), [(2**19, [4, 2]), (3 * 2**17, [3, 1, 2])])
def test_many_tokens_are_drawn_in_parts_and_run_in_those_of_the_model(at_once, parts):
    model = Counts(9**9)
    model.tokens_at_once = at_once
    score = alone(
        evaluate(model, PARITY, lengths=(2**17, 2**17), num_sequences=6, generator=seeded(), every_token=False)
    )
    assert [len(tokens) for tokens, _ in model.batches] == parts
    assert (score.num_correct, score.num_sequences) == (6, 6)


def test_logits_that_are_not_finite_are_wrong_and_their_loss_infinite():
    score = alone(
        evaluate(
            Counts(9, right=math.nan), PARITY, lengths=(2, 2), num_sequences=8, generator=seeded(), every_token=False
        )
    )
    assert (score.num_correct, score.loss) == (0, math.inf)


class Answers(SequenceModel):
    """Copies, but for the letters in `wrong`, one a sequence; where there is no label its logits are not finite."""

    def __init__(self, wrong=(), tokens_at_once=2**17):
        super().__init__()
        self.wrong, self.tokens_at_once, self.parts, self.seen = dict(wrong), tokens_at_once, [], 0
        self.readout = torch.nn.Identity()

    def advance(self, tokens, state=None):
        separator = (tokens == 3).int().argmax(1)
        since = torch.arange(tokens.shape[1]) - separator[:, None]
        letters = tokens.gather(1, since.clamp(0)).clamp(max=2)
        for row, letter in self.wrong.items():
            if 0 <= row - self.seen < len(tokens):
                at = separator[row - self.seen] + letter
                letters[row - self.seen, at] = (letters[row - self.seen, at] + 1) % 3
        self.parts.append(len(tokens))
        self.seen += len(tokens)
        return torch.nn.functional.one_hot(letters, 3).float().masked_fill(since[:, :, None] < 0, math.nan), None


@pytest.mark.parametrize("at_once", [2**17, 100, 1])
@pytest.mark.parametrize("lengths", [(4, 4), (1, 5)])
def test_every_label_of_a_sequence_must_be_right(at_once, lengths):
    task, model = Copying(num_letters=3), Answers({2: 0, 5: lengths[0] - 1, 30: 0}, at_once)
    score = alone(evaluate(model, task, lengths=lengths, num_sequences=40, generator=seeded(), every_token=True))
    assert score.num_sequences_right == 37
    assert math.isfinite(score.loss)
    assert max(model.parts) == min(40, max(1, at_once // (2 * lengths[1])))
    if lengths == (4, 4):
        assert (score.num_correct, score.num_labels) == (39, 160)


class Wide(Copying):
    """As if there were many classes."""

    num_classes = 2**14


def test_many_classes_make_the_parts_smaller():
    model = Answers()
    alone(evaluate(model, Wide(num_letters=3), lengths=(8, 8), num_sequences=99, generator=seeded(), every_token=True))
    assert model.parts == [64, 35]  # 2**24 logits of 2**14 classes, 16 tokens a sequence


def test_a_task_with_its_own_supervision_is_right_with_its_whole_answer_in_validation(make):
    spec = make()
    cell = dataclasses.replace(spec.cell, task=Copying(num_letters=3))
    points = alone(validate(cell, Answers({0: 0, 1: 1}), seed=0, step=1, complete=False, device=CPU))
    assert [point.accuracy for point in points] == [62 / 64]


def test_the_test_tells_answers_from_whole_sequences(make):
    results = alone(run_test(make(), Counts(12), lengths=(10, 30), device=CPU))
    assert [(result.length, result.num_correct, result.num_sequences_right) for result in results] == [
        (10, 128, 128),
        (30, 0, 0),
    ]
    spec = make(test={"lengths": (4,)})
    copying = dataclasses.replace(spec, cell=dataclasses.replace(spec.cell, task=Copying(num_letters=3)))
    assert alone(run_test(copying, Answers({0: 0, 1: 3}), lengths=(4,), device=CPU)) == (
        LengthResult(4, 127, 128, 3, 126, 0),
    )


def test_sequences_with_logits_that_are_not_finite_are_counted():
    score = Score()
    logits = torch.zeros(4, 3, 2)
    logits[..., 1] = 1.0
    logits[0, 1, 0], logits[1, 0, 1], logits[2, 2, 0] = math.nan, math.inf, -math.inf
    targets = torch.tensor([[1, 1, 1], [IGNORED, 1, 1], [1, 1, 1], [1, 1, IGNORED]])
    score.add(logits, targets, torch.tensor([3, 3, 3, 2]))
    assert (score.num_nonfinite, score.num_correct, score.num_sequences_right) == (2, 3, 2)


def test_validation_goes_up_from_the_training_lengths_and_stops_below_1(make):
    cell = make().cell
    points = alone(validate(cell, Counts(30), seed=0, step=7, complete=False, device=CPU))
    assert [(point.step, point.length, point.accuracy) for point in points] == [(7, None, 1), (7, 20, 1), (7, 40, 0)]
    assert len(alone(validate(cell, Counts(15), seed=0, step=7, complete=False, device=CPU))) == 2
    assert len(alone(validate(cell, Counts(15), seed=0, step=7, complete=True, device=CPU))) == 4


class Bands(Counts):
    """Knows the answer of the training lengths, and of sequences of exactly 20 and 40 tokens."""

    def forward(self, tokens, num_tokens, *, every_token=False):
        logits = super().forward(tokens, num_tokens, every_token=every_token)
        is_right = (num_tokens <= 10) | (num_tokens == 20) | (num_tokens == 40)
        return logits * torch.where(is_right, 1, -1)[:, None]


def test_validation_at_mixed_lengths_finds_a_model_that_is_right_at_each_validated_length(make):
    model, cells = Bands(999), [make(validate={"mixed_lengths": mixed}).cell for mixed in (True, False)]
    points = [alone(validate(cell, model, seed=0, step=7, complete=False, device=CPU)) for cell in cells]
    assert [point.accuracy for point in points[1]] == [1, 1, 1]
    assert [point.length for point in points[0]] == [None, 20, 40, MIXED_LENGTHS]
    assert points[0][-1].accuracy < 0.2
    lengths = model.batches[3][1]
    assert lengths[0] == 40
    assert lengths.min() >= 11
    assert len(lengths.unique()) > 20


@pytest.mark.parametrize("lengths", [(), (9, 10)])
def test_there_are_no_mixed_lengths_without_a_length_beyond_the_training(make, lengths):
    cell = make(validate={"lengths": lengths}).cell
    assert validated_lengths(cell) == {None: (2, 10), **{length: (length, length) for length in lengths}}


def test_each_step_length_and_seed_validates_on_data_of_its_own(make):
    cell, model = make().cell, Counts(999)
    for seed, step in ((0, 7), (0, 7), (0, 8), (1, 7)):
        alone(validate(cell, model, seed=seed, step=step, complete=True, device=CPU))
    drawn = [tokens for tokens, _ in model.batches[2::4]]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[3])


def test_a_tested_length_is_drawn_apart_from_the_same_length_in_training(make):
    spec = make()
    model = Counts(999)
    results = alone(run_test(spec, model, lengths=(10, 10), device=CPU))
    assert [(result.length, result.accuracy, result.num_classes) for result in results] == [(10, 1.0, 2)] * 2
    assert torch.equal(model.batches[0][0], model.batches[1][0])


def test_evaluation_leaves_weights_and_gradients_alone(make):
    state = start(make(), CPU)
    alone(evaluate(state.model, PARITY, lengths=(2, 9), num_sequences=16, generator=seeded(), every_token=True))
    assert all(weight.grad is None for weight in state.model.parameters())
