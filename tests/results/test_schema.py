from __future__ import annotations

from collections import Counter

from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.results.schema import TRAIN_COLUMNS, cell_columns, trials_schema
from bilin.tasks import TASKS, task_settings


def test_column_names_are_unique():
    assert [name for name, count in Counter(trials_schema().names).items() if count > 1] == []


def test_no_field_takes_the_name_of_another_column():
    tasks = {field for name in TASKS for field in fields_of(task_settings(name))}
    tiers = {field for name in MODELS for field in fields_of(tier_settings(name))}
    train = set(TRAIN_COLUMNS.values())
    others = set(trials_schema().names) - tasks - tiers - train
    assert tasks.isdisjoint(tiers | train)
    assert tiers.isdisjoint(train)
    # every fixed column is still there: none was taken for a field
    assert {"task", "tier", "lr", "seed", "status", "steps", "device", "spec", "tested"} <= others
    assert others.isdisjoint({"length", "accuracy", "accuracy_scaled", "mean", "low", "high", "best", "sweep"})


def test_columns_of_a_cell_are_those_of_the_blocks():
    assert set(cell_columns(trials_schema())) == {
        "task", "tier", "searched", *TRAIN_COLUMNS.values(),
        *(field for name in TASKS for field in fields_of(task_settings(name))),
        *(field for name in MODELS for field in fields_of(tier_settings(name))),
    }  # fmt: skip
    assert {"max_steps", "train_lengths"} <= set(cell_columns(trials_schema()))
