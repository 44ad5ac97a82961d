"""One trial from its spec to its result."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.record import MIXED_LENGTHS, TrialResult
from bilin.tasks import TASKS, task_settings
from bilin.tasks.modular_addition import ModularAddition
from bilin.workers.trial import run_trial

VARYING: dict[str, Any] = {"wall_s": 0.0, "test_s": None, "started_at": 0.0, "finished_at": 0.0}


def measured(result: TrialResult) -> TrialResult:
    """The result without its times."""
    return dataclasses.replace(result, **VARYING)


def test_a_trial_that_is_solved_ends_there_and_is_tested(make):
    result = run_trial(make())
    assert (result.status, result.stop_reason, result.solved) == ("done", "solved", True)
    assert result.steps < 200
    assert result.validation_accuracy == 1.0
    assert [length.length for length in result.lengths] == [10, 30]
    assert all(length.num_correct == length.num_sequences == 128 for length in result.lengths)


def test_a_trial_that_is_not_solved_ends_with_its_steps(make):
    result = run_trial(make(tier="positive_diagonal", train={"steps": 60}))
    assert (result.status, result.stop_reason, result.solved, result.steps) == ("done", "budget", False, 60)
    assert [point.step for point in result.curve if point.length is None] == [25, 50, 60]


def test_two_evaluations_running_must_be_perfect(make):
    result = run_trial(make(validate={"every": 10}))
    accuracy = {(point.step, point.length): point.accuracy for point in result.curve}
    for step in (result.steps - 10, result.steps):
        assert [accuracy[step, length] for length in (None, 20, 40, MIXED_LENGTHS)] == [1.0] * 4
    assert any(accuracy.get((result.steps - 20, length)) != 1.0 for length in (None, 20, 40, MIXED_LENGTHS))


def test_validation_stops_below_1_but_at_the_last_evaluation(make):
    result = run_trial(make(tier="positive_diagonal", train={"steps": 60}))
    looked_at = [(point.step, point.length) for point in result.curve]
    assert looked_at == [(25, None), (50, None), (60, None), (60, 20), (60, 40), (60, MIXED_LENGTHS)]
    assert result.validation_accuracy == min(point.accuracy for point in list(result.curve)[-4:])
    assert result.training_loss == list(result.curve)[-4].loss


def test_a_trial_may_go_on_when_it_is_solved(make):
    result = run_trial(make(train={"steps": 150, "stop_when_solved": False}))
    assert (result.stop_reason, result.solved, result.steps) == ("budget", True, 150)


def test_without_validation_lengths_the_training_lengths_decide(make):
    result = run_trial(make(validate={"lengths": ()}, train={"stop_when_solved": False}))
    assert {point.length for point in result.curve} == {None}
    assert result.validation_accuracy == list(result.curve)[-1].accuracy


def test_a_loss_that_is_not_finite_is_a_result(make):
    result = run_trial(make(lr=1e30, tier="full", train={"normalize": "none"}))
    assert (result.status, result.stop_reason, result.steps) == ("diverged", "diverged", 25)
    assert (result.solved, result.lengths, result.validation_accuracy) == (False, (), None)
    assert result.error is None


def test_additive_terms_have_predictions_at_any_length(make):
    model = {"additive": True, "init_scale": 3.0, "hidden": 4}
    result = run_trial(make(tier="full", model=model, train={"steps": 1}, test={"lengths": (2000,)}))
    assert (result.status, result.stop_reason) == ("done", "budget")
    assert result.lengths[0].num_nonfinite == 0
    assert result.lengths[0].num_correct > 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Broken(ModularAddition):
    """A task whose batches cannot be drawn."""

    error: Callable[[str], BaseException]

    def sample(self, lengths, generator):
        raise self.error("two\nlines")


def broken(spec, error):
    return dataclasses.replace(spec, cell=dataclasses.replace(spec.cell, task=Broken(m=2, error=error)))


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError, "failed"), (RuntimeError, "failed"), (MemoryError, "oom"), (torch.cuda.OutOfMemoryError, "oom")],
)
def test_an_exception_is_a_row_with_its_text_and_traceback(make, error, status):
    spec = make()
    result = run_trial(broken(spec, error))
    assert (result.status, result.stop_reason, result.lengths) == (status, None, ())
    assert result.error == f"{error.__name__}: two lines"
    assert result.traceback is not None
    assert "in sample" in result.traceback
    assert result.environment is not None


def test_what_a_trial_raises_that_is_only_tested_is_in_its_output(make, capsys):
    spec = dataclasses.replace(broken(make(), ValueError), test_only=(70,))
    assert run_trial(spec).status == "failed"
    assert "in sample" in capsys.readouterr().err


def test_a_device_that_fails_is_one_of_hardware(make):
    """As CUDA says it, raised by a task since there is no such device here."""
    error = partial(torch.AcceleratorError, "CUDA error: uncorrectable ECC error encountered")
    spec = make()
    task = Broken(m=2, error=lambda text: error())
    result = run_trial(dataclasses.replace(spec, cell=dataclasses.replace(spec.cell, task=task)))
    assert (result.status, "ECC" in (result.error or "")) == ("hardware", True)


def test_an_error_of_bilins_own_code_is_said_as_its_own(make, monkeypatch):
    monkeypatch.setattr("bilin.workers.training.state.derive_seed", None)
    assert run_trial(make()).status == "internal"


def test_memory_that_the_cpu_does_not_have_is_oom(make):
    result = run_trial(make(train={"batch_size": 2**50}))
    assert result.status == "oom"


class OddError(Exception):
    """An error with a part of a file name that is not UTF-8."""

    def __str__(self):
        return "\udc80"


@pytest.mark.parametrize("error", [SystemExit, OddError])
def test_whatever_a_task_raises_is_a_row_that_can_be_written(make, error):
    result = run_trial(broken(make(), error))
    assert result.status == "failed"
    assert result.error.startswith(f"{error.__name__}: ")
    assert result.error.isascii()
    assert result.traceback.encode()


def test_a_trial_repeats_to_the_last_bit(make):
    spec = make(tier="full", task={"m": 3}, train={"steps": 60}, validate={"every": 20})
    first, second = run_trial(spec), run_trial(spec)
    assert measured(first) == measured(second)
    assert len(first.curve) >= 3


def test_a_trial_repeats_in_another_process_whatever_was_drawn_before(make):
    spec = make(tier="cp", model={"rank": 4}, train={"steps": 30})
    torch.rand(3)
    code = (
        "import sys, pickle; from bilin.workers.trial import run_trial\n"
        "sys.stdout.buffer.write(pickle.dumps(run_trial(pickle.load(sys.stdin.buffer)).curve))"
    )
    other = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(spec), capture_output=True, check=True)
    assert pickle.loads(other.stdout) == run_trial(spec).curve


def test_the_global_generator_is_left_alone(make):
    before = torch.random.get_rng_state()
    run_trial(make(train={"steps": 10}))
    assert torch.equal(before, torch.random.get_rng_state())


def test_progress_is_reported_at_evaluations(make):
    reports = []
    spec = make(train={"steps": 50, "stop_when_solved": False})
    result = run_trial(spec, report=reports.append)
    assert [(report.step, report.max_steps) for report in reports if report.step % 25 == 0] == [(25, 50), (50, 50)]
    assert {report.trial_id for report in reports} == {spec.trial_id}
    assert reports[-1].loss == result.training_loss
    assert math.isfinite(reports[-1].loss)


def test_the_row_says_where_and_with_what_it_ran(make):
    spec = make(train={"steps": 1})
    result = run_trial(spec)
    assert result.trial_id == spec.trial_id
    assert result.environment.pid == os.getpid()
    assert (result.environment.device, result.environment.threads) == ("cpu", 1)
    assert result.environment.torch == torch.__version__
    assert result.finished_at >= result.started_at > 1.6e9
    assert result.wall_s > 0
    assert result.recurrent_params is not None
    assert result.params == 2 * 16 + 16 + 2 * 16 + result.recurrent_params


def test_frozen_weights_are_not_counted(make):
    result = run_trial(make(model={"freeze": "recurrent"}, train={"steps": 1}))
    assert (result.params, result.recurrent_params) == (2 * 16, 0)


def test_the_room_is_imported_without_torch_or_ray():
    code = "import sys, bilin.workers.trial; assert not {'torch', 'ray', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("tier", "task"),
    [*((tier, "modular_arithmetic") for tier in MODELS), *itertools.product(("full", "lstm"), TASKS)],
)
def test_every_tier_and_every_task_trains(make, tier, task):
    small = {"m": 3, "group": "S3", "rank": 4, "block_size": 2, "evaluation_iterations": 8}
    model, settings = (
        {name: small[name] for name in fields_of(block) if name in small}
        for block in (tier_settings(tier), task_settings(task))
    )
    spec = make(tier=tier, model=model, train={"steps": 3, "supervision": "every_token"}, validate={"every": 3})
    cell = dataclasses.replace(spec.cell, task=task_settings(task)(**settings))
    result = run_trial(dataclasses.replace(spec, cell=cell))
    assert (result.status, result.error, result.steps) == ("done", None, 3)
    assert [tested.num_classes for tested in result.lengths] == [cell.task.num_classes] * 2


@pytest.mark.parametrize(
    ("tier", "model", "losses"),
    [
        ("full", {}, (1.04653, 0.9571)),
        ("cp", {"rank": 8}, (1.12306, 1.10405)),
        ("block_diagonal", {"block_size": 2}, (1.10665, 1.07414)),
        ("rotation", {}, (1.09357, 1.06333)),
        ("real_diagonal", {}, (1.09448, 1.07547)),
        ("positive_diagonal", {}, (1.11876, 1.11951)),
        ("elman", {}, (1.13048, 1.15862)),
        ("lstm", {}, (1.09273, 1.10105)),
        ("slstm", {}, (1.10255, 1.10075)),
        ("mlstm", {}, (1.15838, 1.12927)),
        ("transformer", {}, (1.12378, 1.11166)),
    ],
)
def test_the_numbers_are_those_of_this_results_version(make, tier, model, losses):
    """Where these change on purpose, `bilin.spec.RESULTS_VERSION` is raised, or old results are taken for new."""
    spec = make(
        tier=tier, model=model, task={"m": 3}, train={"steps": 20}, validate={"every": 10, "mixed_lengths": False}
    )
    curve = [point.loss for point in run_trial(spec).curve if point.length is None]
    assert curve == pytest.approx(losses, rel=1e-3)
