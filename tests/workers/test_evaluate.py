"""How well a model does on fresh sequences."""

from __future__ import annotations

import math

import pytest
import torch

from bilin.models.module import SequenceModel
from bilin.tasks.modular_addition import ModularAddition
from bilin.workers.evaluate import evaluate, run_test, validate
from bilin.workers.state import start

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
    score = evaluate(Counts(3), PARITY, lengths=(1, 4), num_sequences=1000, generator=seeded())
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.exp(1))
    assert 650 < score.num_correct < 850
    assert score.accuracy == score.num_correct / 1000
    assert score.loss == pytest.approx(score.accuracy * right + (1 - score.accuracy) * wrong, rel=1e-5)


def test_lengths_are_mixed_from_the_shortest_to_the_longest():
    model = Counts(9)
    evaluate(model, PARITY, lengths=(2, 5), num_sequences=200, generator=seeded())
    assert set(model.batches[0][1].tolist()) == {2, 3, 4, 5}


@pytest.mark.parametrize(("at_once", "parts"), [(2**19, [4, 2]), (3 * 2**17, [3, 1, 2])])
def test_many_tokens_are_drawn_in_parts_and_run_in_those_of_the_model(at_once, parts):
    model = Counts(9**9)
    model.tokens_at_once = at_once
    score = evaluate(model, PARITY, lengths=(2**17, 2**17), num_sequences=6, generator=seeded())
    assert [len(tokens) for tokens, _ in model.batches] == parts
    assert (score.num_correct, score.num_sequences) == (6, 6)


def test_logits_that_are_not_finite_are_wrong_and_their_loss_infinite():
    score = evaluate(Counts(9, right=math.nan), PARITY, lengths=(2, 2), num_sequences=8, generator=seeded())
    assert (score.num_correct, score.loss) == (0, math.inf)


def test_validation_goes_up_from_the_training_lengths_and_stops_below_1(make):
    cell = make().cell
    points = validate(cell, Counts(30), seed=0, step=7, complete=False, device=CPU)
    assert [(point.step, point.length, point.accuracy) for point in points] == [(7, None, 1), (7, 20, 1), (7, 40, 0)]
    assert len(validate(cell, Counts(15), seed=0, step=7, complete=False, device=CPU)) == 2
    assert len(validate(cell, Counts(15), seed=0, step=7, complete=True, device=CPU)) == 3


def test_each_step_length_and_seed_validates_on_data_of_its_own(make):
    cell, model = make().cell, Counts(999)
    for seed, step in ((0, 7), (0, 7), (0, 8), (1, 7)):
        validate(cell, model, seed=seed, step=step, complete=True, device=CPU)
    drawn = [tokens for tokens, _ in model.batches[2::3]]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[3])


def test_a_tested_length_is_drawn_apart_from_the_same_length_in_training(make):
    spec = make(test={"lengths": (10, 10)})
    model = Counts(999)
    results = run_test(spec, model, device=CPU)
    assert [(result.length, result.accuracy, result.num_classes) for result in results] == [(10, 1.0, 2)] * 2
    assert torch.equal(model.batches[0][0], model.batches[1][0])


def test_evaluation_leaves_weights_and_gradients_alone(make):
    state = start(make(), CPU)
    evaluate(state.model, PARITY, lengths=(2, 9), num_sequences=16, generator=seeded())
    assert all(weight.grad is None for weight in state.model.parameters())
