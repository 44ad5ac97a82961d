"""The tasks, one per file.

May import `bilin.fields`, `bilin.spec`, `bilin.registry` and, where batches are drawn, torch.
"""

from __future__ import annotations

from collections.abc import Mapping

from bilin.registry import TASKS_GROUP, Registry
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
"""The tasks of `TASKS`, and those that installed packages declare."""

task_settings = TASK_REGISTRY.own_first
"""Returns the settings of a task, by its name."""
