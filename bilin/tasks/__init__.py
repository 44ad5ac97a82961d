"""The tasks: one a file.

May import `bilin.fields`, `bilin.spec`, `bilin.registry` and, where batches are drawn, torch.
"""

from __future__ import annotations

from collections.abc import Mapping

from bilin.registry import TASKS_GROUP, Registry, load
from bilin.tasks.task import IGNORED as IGNORED
from bilin.tasks.task import Batch as Batch
from bilin.tasks.task import Task as Task

TASKS: Mapping[str, str] = {
    "modular_addition": "bilin.tasks.modular_addition:ModularAddition",
    "parity": "bilin.tasks.parity:Parity",
    "modular_arithmetic": "bilin.tasks.modular_arithmetic:ModularArithmetic",
    "modular_arithmetic_brackets": "bilin.tasks.modular_arithmetic_brackets:ModularArithmeticBrackets",
    "random_state_machine": "bilin.tasks.random_state_machine:RandomStateMachine",
    "group_word": "bilin.tasks.group_word:GroupWord",
    "copying": "bilin.tasks.copying:Copying",
}


TASK_REGISTRY: Registry[Task] = Registry(
    what="task",
    key="name",
    group=TASKS_GROUP,
    own=TASKS,
    base=Task,  # type: ignore[type-abstract]
)
"""`TASKS`, and the tasks that installed packages declare."""


def task_settings(name: str) -> type[Task]:
    """The settings of a task, bilin's own first. Raises as `bilin.registry.Registry.settings` does."""
    if name not in TASKS:
        return TASK_REGISTRY.settings(name)
    settings: type[Task] = load(TASKS[name])
    return settings
