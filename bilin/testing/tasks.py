"""The contract of a task: what must hold for every task, whatever it asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch

from bilin.fields import values_of
from bilin.tasks import IGNORED, TASK_REGISTRY, Task

LENGTHS = torch.tensor([3, 1, 10, 10, 2])


def label(task: Task) -> str:
    """Return the name of a task in the ids of tests: the task and its fields."""
    return "-".join([task.name, *map(str, values_of(task).values())])


def generator(seed: int = 0) -> torch.Generator:
    """Return a generator under a seed."""
    return torch.Generator().manual_seed(seed)


class TaskContract:
    """Tests of a task. A subclass whose name starts with ``Test`` lists the settings to test, and gives an oracle.

    Attributes:
        tasks: Settings of one or more tasks: small ones, at least one for each way the task can behave.
        uneven: Names of tasks whose answers are not equally frequent; they skip the test of it.
    """

    tasks: ClassVar[Sequence[Task]] = ()
    uneven: ClassVar[frozenset[str]] = frozenset()

    def labels(self, task: Task, tokens: list[int]) -> list[int | None]:
        """Return the label after each token, and None where there is none.

        Written in plain Python from the definition of the task, sharing no code with it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define labels(task, tokens), an oracle of {task.name}")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test for every task, or for every task that is not uneven."""
        even = [task for task in self.tasks if task.name not in self.uneven]
        for fixture, tasks in (("task", self.tasks), ("even_task", even)):
            if fixture in metafunc.fixturenames:
                metafunc.parametrize(fixture, tasks, ids=label)

    def test_the_settings_can_be_registered(self, task: Task) -> None:
        """The class is a frozen dataclass whose fields are declared; these settings have no problems."""
        assert TASK_REGISTRY.fault(type(task), task.name) == ""
        assert task.problems() == {}

    @pytest.mark.parametrize("lengths", [LENGTHS.tolist(), [1], [1, 1], [7], [2, 63], list(range(1, 20))], ids=str)
    def test_the_labels_are_those_of_the_oracle(self, task: Task, lengths: list[int]) -> None:
        """Every target is what `labels` says."""
        batch = task.sample(torch.tensor(lengths), generator())
        for tokens, targets, num in zip(
            batch.tokens.tolist(), batch.targets.tolist(), batch.num_tokens.tolist(), strict=True
        ):
            expected = self.labels(task, tokens[:num])
            assert targets[:num] == [IGNORED if label is None else label for label in expected]

    def test_a_length_means_the_same_in_every_batch(self, task: Task) -> None:
        """The number of tokens depends on a sequence's own length, not on the others."""
        mixed = task.sample(LENGTHS, generator()).num_tokens
        alone = [task.sample(length[None], generator()).num_tokens.item() for length in LENGTHS]
        assert mixed.tolist() == alone

    def test_answers_are_equally_frequent(self, even_task: Task) -> None:
        """Guessing is right one time in the number of classes."""
        task = even_task
        for length in (1, 8):
            answers = task.sample(torch.full((20_000,), length), generator()).answers
            shares = torch.bincount(answers, minlength=task.num_classes) / len(answers)
            noise = 5 * (1 / task.num_classes / len(answers)) ** 0.5
            assert (shares - 1 / task.num_classes).abs().max() < noise

    def test_tokens_and_targets_are_in_range(self, task: Task) -> None:
        """Tokens are below `vocab_size`, labels below `num_classes`."""
        batch = task.sample(LENGTHS, generator())
        labels = batch.targets[batch.targets != IGNORED]
        assert batch.tokens.shape == batch.targets.shape == (5, int(batch.num_tokens.max()))
        assert batch.tokens.min() >= 0
        assert batch.tokens.max() < task.vocab_size
        assert labels.min() >= 0
        assert labels.max() < task.num_classes

    def test_the_answer_is_the_label_after_the_last_token(self, task: Task) -> None:
        """Every sequence ends with a label, its answer."""
        batch = task.sample(LENGTHS, generator())
        last = [row[num - 1] for row, num in zip(batch.targets.tolist(), batch.num_tokens.tolist(), strict=True)]
        assert batch.answers.tolist() == last
        assert IGNORED not in last

    def test_padding_is_token_0_without_a_label(self, task: Task) -> None:
        """Tokens after the end of a sequence are always the same."""
        batch = task.sample(LENGTHS, generator())
        beyond = torch.arange(batch.tokens.shape[1]) >= batch.num_tokens[:, None]
        assert (batch.tokens[beyond] == 0).all()
        assert (batch.targets[beyond] == IGNORED).all()

    def test_one_seed_draws_one_batch(self, task: Task) -> None:
        """A batch depends on the generator, and on nothing else."""
        first, same, other = (task.sample(LENGTHS, generator(seed)) for seed in (1, 1, 2))
        assert torch.equal(first.tokens, same.tokens)
        assert torch.equal(first.targets, same.targets)
        assert not torch.equal(first.tokens, other.tokens)

    def test_the_global_generator_is_left_alone(self, task: Task) -> None:
        """Nothing is drawn from torch's global generator."""
        before = torch.random.get_rng_state()
        task.sample(LENGTHS, generator())
        assert torch.equal(before, torch.random.get_rng_state())

    def test_every_token_and_every_answer_occurs(self, task: Task) -> None:
        """`vocab_size` and `num_classes` are not too large."""
        batch = task.sample(torch.full((4000,), 6), generator())
        assert set(batch.tokens.flatten().tolist()) == set(range(task.vocab_size))
        assert set(batch.answers.tolist()) == set(range(task.num_classes))
