"""Reads one document of a grid: its own keys, and below ``grids`` the top-level ones for those it lacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bilin.fields import fields_of, option
from bilin.orchestrator.grid.blocks import (
    Block,
    Choice,
    Choices,
    LearningRate,
    accepted_entries,
    all_named,
    learning_rate_of,
    only_settings,
    read_block,
    read_choice,
    read_entries,
    read_learning_rate,
    read_mapping,
    repeated,
    report_problems,
    report_tested,
)
from bilin.orchestrator.grid.cells import (
    MAX_COMBINATIONS,
    Expansion,
    Known,
    Part,
    Runs,
    Space,
    check_lengths,
    expand,
    known_fields,
    read_exclude,
    read_zip,
    too_many,
    vary,
)
from bilin.orchestrator.grid.faults import Faults, is_misspelt
from bilin.orchestrator.grid.overrides import TOP_KEYS
from bilin.orchestrator.grid.yaml import MappingNode, Node
from bilin.spec import Resources, TestSpec, TrainSpec, ValidateSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedsKey:
    """``seeds`` as it is written."""

    seeds: tuple[int, ...] = option((0,), at_least=0, doc="each rate of a cell is trained once with each of them")


@dataclass(frozen=True, slots=True)
class Document:
    """A document that has been read.

    Attributes:
        expansion: Its combinations; None where its tasks, models or training have a fault.
        part: What it adds to the grid; None where it has any fault.
    """

    expansion: Expansion | None
    part: Part | None


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a document, each with where it stands.

    Attributes:
        node: The document.
        path: Where it stands; empty for a file of one document.
        defaults: The top level, for a document below ``grids``.
    """

    node: MappingNode
    path: str
    defaults: MappingNode | None

    def find(self, key: str) -> tuple[Node | None, str]:
        """The value of a key, None where there is none, and its path."""
        if key not in self.node.entries and self.defaults and key in self.defaults.entries:
            return self.defaults.entries[key], key
        return self.node.entries.get(key), f"{self.path}.{key}" if self.path else key


def read_document(keys: Keys, faults: Faults) -> Document:
    """A document with all that can be checked in it alone, adding its faults."""
    before = len(faults)
    train = _read_block(TrainSpec, "train", keys, faults, axes=True)
    space = _read_space(keys, train, faults)
    expansion = _expand(space, keys, faults) if space and len(faults) == before else None
    validate = _read_plain_block(ValidateSpec, "validate", keys, faults)
    tested = _read_plain_block(TestSpec, "test", keys, faults)
    if validate and tested:
        report_tested(validate, tested, faults)
    if validate and train:
        _check_stopping(validate, train, faults)
    runs = _read_runs(keys, _sorted(only_settings(tested)) if tested else None, faults)
    if runs and validate and train:
        _check_until_solved(runs.learning_rate, validate, train, faults)
    if space is None or expansion is None or validate is None or runs is None:
        return Document(expansion, None)
    part = Part(keys.node, keys.path, space, expansion.kept, _sorted(only_settings(validate)), runs)
    return Document(expansion, part)


def _read_space(keys: Keys, train: Block | None, faults: Faults) -> Space | None:
    tasks = _read_entries("tasks", keys, faults)
    models = _read_entries("models", keys, faults)
    blocks = (*tasks, *models, train)
    known = known_fields(settings for kind in ("tasks", "models") for settings in all_named(kind, keys.find(kind)[0]))
    exclude = read_exclude(*keys.find("exclude"), known, faults)
    groups = read_zip(*keys.find("zip"), _axis_names(blocks, known), faults)
    before = len(faults)
    if len(tasks) * len(models) > MAX_COMBINATIONS:
        faults.add(keys.node, keys.path, too_many(len(tasks) * len(models)))
    elif groups:
        check_lengths(groups, tasks, models, train, faults)
    if groups is None or len(faults) > before:
        return None
    varied = [vary(block, groups, exclude or (), faults) if block else None for block in blocks]
    sound = [block for block in varied if block]
    if exclude is None or not (tasks and models) or len(sound) < len(blocks):
        return None
    return Space(tuple(sound[: len(tasks)]), tuple(sound[len(tasks) : -1]), sound[-1], groups, exclude)


def _axis_names(blocks: Sequence[Block | None], known: Known) -> set[str]:
    """The fields that can be an axis: those of the blocks; all that there are, where a block has a fault."""
    fields = [field for block in blocks if block for field in fields_of(block.settings).values()]
    if None in blocks:
        fields += [field for named in known.values() for field in named]
    return {field.name for field in fields if not field.is_list}


def _read_entries(kind: str, keys: Keys, faults: Faults) -> tuple[Block | None, ...]:
    node, path = keys.find(kind)
    if node is not None:
        return read_entries(kind, node, path, faults)
    if not is_misspelt(kind, keys.node.entries, TOP_KEYS):
        faults.add(keys.node, path, f"missing; accepted: {accepted_entries(kind)}")
    return ()


def _read_block(settings: type[Any], key: str, keys: Keys, faults: Faults, *, axes: bool = False) -> Block | None:
    node, path = keys.find(key)
    mapping = read_mapping(node, path, faults)
    if mapping is None and node is not None:
        return None
    return read_block(settings, mapping, path, faults, axes=axes)


def _read_plain_block(settings: type[Any], key: str, keys: Keys, faults: Faults) -> Block | None:
    return _without_problems(_read_block(settings, key, keys, faults), faults)


def _without_problems(block: Block | None, faults: Faults) -> Block | None:
    return None if block is None or report_problems(block, only_settings(block), {}, faults) else block


def _expand(space: Space, keys: Keys, faults: Faults) -> Expansion | None:
    if space.num_combinations > MAX_COMBINATIONS:
        faults.add(keys.node, keys.path, too_many(space.num_combinations))
        return None
    return expand(space)


def _read_runs(keys: Keys, test: TestSpec | None, faults: Faults) -> Runs | None:
    learning_rate = _without_problems(read_learning_rate(*keys.find("learning_rate"), faults), faults)
    resources = _read_plain_block(Resources, "resources", keys, faults)
    seeds = _read_seeds(*keys.find("seeds"), faults)
    if learning_rate is None or resources is None or seeds is None or test is None:
        return None
    rate = learning_rate_of(only_settings(learning_rate))
    return Runs(rate, seeds, test, only_settings(resources))


def _read_seeds(node: Node | None, path: str, faults: Faults) -> tuple[int, ...] | None:
    if node is None:
        return SeedsKey().seeds
    choice = read_choice(fields_of(SeedsKey)["seeds"], node, path, faults)
    if choice is None:
        return None
    (seeds,) = choice.values
    if not isinstance(seeds, tuple) or not seeds:
        faults.add(node, path, "found an empty list; accepted: at least one seed")
        return None
    if again := repeated(seeds):
        faults.add(node, path, f"found {again} more than once; accepted: each seed once")
        return None
    return tuple(int(seed) for seed in seeds)


def _check_stopping(validate: Block, train: Block, faults: Faults) -> None:
    stopping = train.choices.get("stop_when_solved")
    lengths = validate.choices.get("lengths")
    if lengths and not lengths.values[0] and (stopping is None or True in stopping.values):
        message = "found an empty list; accepted: at least one length, or stop_when_solved: false in train"
        faults.add(lengths.nodes[0], f"{validate.path}.lengths", message)


def _check_until_solved(rate: LearningRate, validate: Block, train: Block, faults: Faults) -> None:
    """A trial counts as solved after two perfect evaluations; one that has fewer never ends the row of rates."""
    every, steps = validate.choices.get("every"), train.choices.get("steps")
    period = min(_numbers(every, ValidateSpec().every))
    fewest = min(_numbers(steps, TrainSpec().steps))
    if isinstance(rate, Choices) and rate.until_solved and fewest <= period:
        message = f"found {period} with {fewest} steps; accepted with until_solved: fewer, for two evaluations at least"
        faults.add(every.nodes[0] if every else validate.node, f"{validate.path}.every", message)


def _numbers(choice: Choice | None, default: int) -> list[int]:
    """The values of a field that takes whole numbers."""
    return [value for value in choice.values if isinstance(value, int)] if choice else [default]


def _sorted(settings: Any) -> Any:
    """The lengths in one order, so that the order in the file makes no other trial of it."""
    return dataclasses.replace(settings, lengths=tuple(sorted(settings.lengths)))
