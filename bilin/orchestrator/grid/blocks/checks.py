"""Faults that only several fields together show."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from bilin.fields import Amounts, Value
from bilin.models import Tier
from bilin.orchestrator.grid.blocks.block import Block, only_settings
from bilin.orchestrator.grid.blocks.cluster import ClusterSettings
from bilin.orchestrator.grid.blocks.learning_rate import ChoicesKeys, LogUniformKeys
from bilin.orchestrator.grid.faults import Faults
from bilin.orchestrator.grid.yaml import ListNode, Node, describe, plain
from bilin.spec import Resources, TestSpec, TrainSpec, ValidateSpec
from bilin.tasks import Task

_LONGEST = 60

_FIELDS_OF_RAY = {"CPU", "GPU", "memory", "object_store_memory", "bundle"}
"""Names that Ray takes for no custom resource."""


def report_problems(block: Block, settings: Any, picked: Mapping[str, int], faults: Faults) -> bool:
    """Add a fault for each of the problems of a settings object, one a value, whatever it is combined with.

    Args:
        block: What it was made from.
        settings: One object of the block's settings.
        picked: Which value of each axis it has.
        faults: Takes the faults.

    Returns:
        Whether there were some.
    """
    found = problems(settings)
    for name, accepted in found.items():
        node: Node | None = block.node
        path = f"{block.path}.{name}"
        if name in block.choices:
            node = block.choices[name].nodes[picked.get(name, 0)]
            path += f"[{picked[name]}]" if name in picked else ""
        faults.add(node, path, f"found {written(getattr(settings, name))}; accepted: {accepted}", once=True)
    return bool(found)


def problems(settings: Any) -> Mapping[str, str]:
    """The fields of a settings object whose values do not go together, and what is accepted."""
    match settings:
        case Task() | Tier() | ClusterSettings():
            return settings.problems()
        case TrainSpec():
            return _train_problems(settings)
        case ValidateSpec() | TestSpec():
            return _length_problems(settings.lengths, may_be_empty=isinstance(settings, ValidateSpec))
        case Resources():
            return _resource_problems(settings)
        case ChoicesKeys() | LogUniformKeys():
            return _rate_problems(settings)
        case _:
            return {}


def report_tested(validate: Block, test: Block, faults: Faults) -> None:
    """Add a fault for each validation length that is tested, where it is written."""
    validated, tested = only_settings(validate).lengths, only_settings(test).lengths
    if "lengths" in validate.choices:
        block, other, message = validate, tested, "which is one of test.lengths"
    else:
        block, other, message = test, validated, "which is one of validate.lengths by default"
    choice = block.choices.get("lengths")
    for node in choice.nodes if choice else ():
        for index, item in enumerate(node.items if isinstance(node, ListNode) else ()):
            if plain(item) in other:
                accepted = "validation lengths that are not tested"
                faults.add(
                    item, f"{block.path}.lengths[{index}]", f"found {describe(item)}, {message}; accepted: {accepted}"
                )


def repeated(values: tuple[Any, ...]) -> str:
    """The values that come more than once, in words; empty where none does."""
    return ", ".join(written(value) for value, count in Counter(values).items() if count > 1)


def written(value: Value) -> str:
    """The value as a grid has it."""
    match value:
        case Amounts():
            return f"{{{', '.join(f'{name}: {amount:g}' for name, amount in value.pairs)}}}"
        case tuple():
            return f"[{', '.join(written(item) for item in value)}]"
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case str():
            return value if value.isprintable() and 0 < len(value) <= _LONGEST else f"{json.dumps(value[:_LONGEST])} …"
        case _:
            return str(value)


def _train_problems(train: TrainSpec) -> dict[str, str]:
    found = {}
    if train.lengths[0] > train.lengths[1]:
        found["lengths"] = "the shortest, then the longest length"
    if train.warmup_steps >= train.steps:
        found["warmup_steps"] = f"fewer than steps ({train.steps})"
    return found


def _length_problems(lengths: tuple[int, ...], *, may_be_empty: bool) -> dict[str, str]:
    if not lengths and not may_be_empty:
        return {"lengths": "at least one length"}
    if again := repeated(lengths):
        return {"lengths": f"each length once ({again} comes again)"}
    return {}


def _resource_problems(resources: Resources) -> dict[str, str]:
    found = {}
    if resources.device == "cuda" and not resources.gpus:
        found["device"] = "auto or cpu, or gpus above 0"
    if resources.device == "cpu" and resources.gpus:
        found["device"] = f"auto or cuda, or gpus: 0 (a trial on the CPU would hold {resources.gpus:g} GPUs)"
    if resources.gpus > 1 and not resources.gpus.is_integer():
        found["gpus"] = "a fraction below 1, or a whole number"
    if resources.accelerator and not resources.gpus:
        found["accelerator"] = "null, or gpus above 0"
    if resources.memory and not resources.memory_bytes:
        found["memory"] = "null, or more than nothing"
    if own := _FIELDS_OF_RAY & resources.custom.by_name.keys():
        found["custom"] = f"other names than {', '.join(sorted(own))}, for which Ray has cpus, gpus and memory here"
    return found


def _rate_problems(keys: ChoicesKeys | LogUniformKeys) -> dict[str, str]:
    if isinstance(keys, LogUniformKeys):
        low, high = keys.log_uniform
        return {} if low < high else {"log_uniform": "the lowest, then the highest rate"}
    if not keys.choices:
        return {"choices": "at least one rate"}
    if again := repeated(keys.choices):
        return {"choices": f"each rate once ({again} comes again)"}
    return {}
