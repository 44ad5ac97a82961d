"""The contract of tasks, for every task in the registry; and the registry itself."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import cast

import bilin.tasks
from bilin.tasks import TASKS, Task, task_settings
from bilin.testing import TaskContract
from tests.tasks.conftest import VARIANTS


class TestTasks(TaskContract):
    tasks = VARIANTS
    uneven = frozenset({"modular_arithmetic", "modular_arithmetic_brackets", "random_state_machine"})

    def labels(self, task: Task, tokens: list[int]) -> list[int | None]:
        """Ask the oracle in the task's own tests."""
        oracle = importlib.import_module(f"tests.tasks.test_{task.name}").labels
        return cast("list[int | None]", oracle(task, tokens))


def test_a_registered_name_is_the_tasks_name_and_its_files() -> None:
    for name, place in TASKS.items():
        settings = task_settings(name)
        assert issubclass(settings, Task)
        assert name == settings.name == settings.__module__.rpartition(".")[2]
        assert place == f"{settings.__module__}:{settings.__name__}"


def test_every_file_that_names_a_task_is_registered() -> None:
    room = Path(bilin.tasks.__file__).parent
    tasks = {path.stem for path in room.glob("*.py") if "    name: ClassVar[str] = " in path.read_text()}
    assert tasks == set(TASKS)


def test_every_task_is_here_and_says_where_it_comes_from() -> None:
    assert {task.name for task in VARIANTS} == set(TASKS)
    assert all(task.source for task in VARIANTS)


def test_settings_are_read_without_torch() -> None:
    code = (
        "import sys; from bilin.fields import fields_of; from bilin.tasks import TASKS, task_settings\n"
        "[fields_of(task_settings(name)) for name in TASKS]\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
