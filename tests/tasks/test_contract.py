"""What every task keeps, whatever it asks."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bilin.tasks
from bilin.tasks import IGNORED, TASKS, Task, task_settings
from tests.tasks.conftest import VARIANTS, label

LENGTHS = torch.tensor([3, 1, 10, 10, 2])

UNEVEN = {"modular_arithmetic", "modular_arithmetic_brackets", "random_state_machine"}
"""Tasks whose answers are not equally frequent: a factor of 0 makes 0, and a machine may prefer states."""


def test_a_registered_name_is_the_tasks_name_and_its_files():
    for name, place in TASKS.items():
        settings = task_settings(name)
        assert issubclass(settings, Task)
        assert name == settings.name == settings.__module__.rpartition(".")[2]
        assert place == f"{settings.__module__}:{settings.__name__}"


def test_every_file_that_names_a_task_is_registered():
    room = Path(bilin.tasks.__file__).parent
    tasks = {path.stem for path in room.glob("*.py") if "    name: ClassVar[str] = " in path.read_text()}
    assert tasks == set(TASKS)


def test_every_task_is_here_and_says_where_it_comes_from():
    assert {task.name for task in VARIANTS} == set(TASKS)
    assert all(task.source for task in VARIANTS)


def test_settings_are_read_without_torch():
    code = (
        "import sys; from bilin.fields import fields_of; from bilin.tasks import TASKS, task_settings\n"
        "[fields_of(task_settings(name)) for name in TASKS]\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("lengths", [LENGTHS.tolist(), [1], [1, 1], [7], [2, 63], list(range(1, 20))], ids=str)
def test_the_labels_are_those_of_the_oracle(task, generator, lengths):
    """`labels(task, tokens)` of the task's own tests: plain Python, None where there is no label."""
    oracle = importlib.import_module(f"tests.tasks.test_{task.name}").labels
    batch = task.sample(torch.tensor(lengths), generator)
    for tokens, targets, num in zip(batch.tokens.tolist(), batch.targets.tolist(), batch.num_tokens, strict=True):
        expected = oracle(task, tokens[:num])
        assert targets[:num] == [IGNORED if label is None else label for label in expected]


def test_a_length_means_the_same_whatever_it_is_drawn_with(task, generator):
    mixed = task.sample(LENGTHS, generator).num_tokens
    alone = [task.sample(length[None], generator).num_tokens.item() for length in LENGTHS]
    assert mixed.tolist() == alone


@pytest.mark.parametrize("task", [task for task in VARIANTS if task.name not in UNEVEN], ids=label)
def test_chance_is_one_in_the_number_of_answers(task, generator):
    for length in (1, 8):
        answers = task.sample(torch.full((20_000,), length), generator).answers
        shares = torch.bincount(answers, minlength=task.num_classes) / len(answers)
        noise = 5 * (1 / task.num_classes / len(answers)) ** 0.5
        assert (shares - 1 / task.num_classes).abs().max() < noise


def test_tokens_and_targets_are_below_their_sizes(task, generator):
    batch = task.sample(LENGTHS, generator)
    labels = batch.targets[batch.targets != IGNORED]
    assert batch.tokens.shape == batch.targets.shape == (5, int(batch.num_tokens.max()))
    assert batch.tokens.min() >= 0
    assert batch.tokens.max() < task.vocab_size
    assert labels.min() >= 0
    assert labels.max() < task.num_classes


def test_the_answer_is_the_label_after_the_last_token(task, generator):
    batch = task.sample(LENGTHS, generator)
    last = [row[num - 1] for row, num in zip(batch.targets, batch.num_tokens, strict=True)]
    assert batch.answers.tolist() == last
    assert IGNORED not in last


def test_padding_is_token_0_without_a_label(task, generator):
    batch = task.sample(LENGTHS, generator)
    beyond = torch.arange(batch.tokens.shape[1]) >= batch.num_tokens[:, None]
    assert (batch.tokens[beyond] == 0).all()
    assert (batch.targets[beyond] == IGNORED).all()


def test_one_seed_draws_one_batch(task):
    ours, same, other = (task.sample(LENGTHS, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(ours.tokens, same.tokens)
    assert torch.equal(ours.targets, same.targets)
    assert not torch.equal(ours.tokens, other.tokens)


def test_the_global_generator_is_left_alone(task, generator):
    before = torch.random.get_rng_state()
    task.sample(LENGTHS, generator)
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_token_and_every_answer_occurs(task, generator):
    batch = task.sample(torch.full((4000,), 6), generator)
    assert set(batch.tokens.flatten().tolist()) == set(range(task.vocab_size))
    assert set(batch.answers.tolist()) == set(range(task.num_classes))
