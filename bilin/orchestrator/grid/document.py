"""A document of a grid: the whole file, or one item of ``grids``; from its blocks to the combinations of its cells.

Each block has one settings object for each combination of its own axes, built and checked once. The cells share them:
a hundred thousand cells are mostly combinations of the same few settings.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

from bilin.catalog import REGISTRIES
from bilin.fields import Value, fields_of, plain_value, values_of
from bilin.orchestrator.grid.blocks import (
    Block,
    attributes,
    check_combinations,
    named_settings,
    read_block,
    read_entries,
    read_settings,
)
from bilin.orchestrator.grid.conditions import holds, known_fields, read_exclude
from bilin.orchestrator.grid.grid import Axis
from bilin.orchestrator.grid.node import YamlNode, unknown_name
from bilin.orchestrator.grid.ranges import Range
from bilin.orchestrator.grid.settings import TOP_KEYS, Choices, Keep, LearningRate, LogUniform, Pruner, Seeds
from bilin.spec import ModelSettings, Resources, TaskSettings, TestSpec, TrainSpec, ValidateSpec

T = TypeVar("T")

Combination = tuple[TaskSettings, ModelSettings, TrainSpec, tuple[Range, ...]]
"""The blocks of a cell, and the ranges of its searched fields, sorted by their names."""


class Document:
    """What a document says: the blocks of its cells, and what is run in each of them.

    Reading adds its faults. If there are any, what could not be read has its default.

    Attributes:
        own: Its mapping in the file; ``node`` has the defaults of the top level too.
        num_combinations: The number of combinations before exclusion.
        kept: Those that are not excluded; None if the blocks have a fault, so that they were not combined.
        matched: The exclusions that hold for some combination, by `YamlNode.origin`.
    """

    def __init__(self, own: YamlNode, defaults: Mapping[str, YamlNode]) -> None:
        self.own = own
        self.node = node = own.replaced({**defaults, **own.entries})
        self.num_combinations = 0
        self.kept: list[Combination] | None = None
        self.matched: set[object] = set()
        before = node.faults.num_added
        train = read_block(TrainSpec, node.key("train"), axes=True, may_search=True)
        self.train = train or Block(TrainSpec, node.key("train"))
        self._read_cells(train)
        if node.faults.num_added == before and self.tasks and self.models:
            self._combine()
        validate = read_settings(ValidateSpec, node.key("validate"))
        test = read_settings(TestSpec, node.key("test"))
        self.validate: ValidateSpec = _with_sorted_lengths(validate or ValidateSpec())
        self.test: TestSpec = _with_sorted_lengths(test or TestSpec())
        learning_rate = _read_learning_rate(node.key("learning_rate"))
        self.learning_rate = learning_rate or Choices()
        if isinstance(learning_rate, Choices):
            self._refuse_ranges()
        self.pruner = read_settings(Pruner, node.key("pruner")) or Pruner()
        self.resources = read_settings(Resources, node.key("resources")) or Resources()
        self.seeds = self._read_key("seeds", Seeds).seeds
        self.keep_weights = self._read_key("keep_weights", Keep).keep_weights
        self._check_tested()
        if validate and train:
            self._check_validation()
            self._check_pruner()

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What varies: the fields that have several values over all entries."""
        found: dict[str, dict[Value, None]] = {}
        for block in (*self.tasks, *self.models, self.train):
            for settings in block.variants.values():
                for name, value in _fixed(block, settings).items():
                    found.setdefault(name, {})[value] = None
        return tuple(Axis(name, tuple(values)) for name, values in found.items() if len(values) > 1)

    def to_plain(self) -> dict[str, object]:
        """Return the document as plain values, with every default."""
        return {
            "tasks": [{"name": block.settings.name, **block.to_plain()} for block in self.tasks],
            "models": [{"tier": block.settings.tier, **block.to_plain()} for block in self.models],
            "train": self.train.to_plain(),
            "validate": _plain(self.validate),
            "test": _plain(self.test),
            "learning_rate": _plain(self.learning_rate),
            "pruner": _plain(self.pruner),
            "seeds": list(self.seeds),
            "resources": _plain(self.resources),
            "keep_weights": self.keep_weights,
            "zip": [group.to_plain() for group in self.zips],
            "exclude": [node.to_plain() for node, _ in self.exclude],
        }

    def _read_key(self, key: str, settings: type[T]) -> T:
        """Read settings whose one field is a key of the document itself."""
        own = {key: self.node.entries[key]} if key in self.node.entries else {}
        return read_settings(settings, self.node.replaced(own)) or settings()

    def _read_cells(self, train: Block | None) -> None:
        """Read what the cells are made from, and vary the blocks without faults."""
        node, faults = self.node, self.node.faults
        entries = {
            kind: read_entries(kind, node.key(kind), may_be_missing=node.is_misspelt(kind, TOP_KEYS))
            for kind in REGISTRIES
        }
        blocks = [*entries["tasks"], *entries["models"], train]
        self.tasks, self.models = ([block for block in entries[kind] if block] for kind in ("tasks", "models"))
        sound = [block for block in blocks if block]
        known = known_fields(named for kind in REGISTRIES for named in named_settings(kind, node.key(kind).items))
        self.exclude = read_exclude(node.key("exclude"), known)
        before = faults.num_added
        fields = [field for block in sound for field in fields_of(block.settings).values()]
        if len(sound) < len(blocks):
            fields += [field for name in known for field in known[name]]
        self.zips = _read_zip(node.key("zip"), {field.name for field in fields if not field.is_list})
        if check_combinations(len(entries["tasks"]) * len(entries["models"]), node) and faults.num_added == before:
            self._check_lengths(train)
        if faults.num_added == before:
            groups = {name: group.path for group in self.zips for name in _names(group)}
            for block in sound:
                block.vary(groups)

    def _check_lengths(self, train: Block | None) -> None:
        """Add a fault for each group whose fields cannot vary together in some combination of entries.

        The fields of the group that a combination has must all be lists of one length, or all be one value.
        """
        tasks: list[Block | None] = [*self.tasks] or [None]
        models: list[Block | None] = [*self.models] or [None]
        for group, task, model in itertools.product(self.zips, tasks, models):
            sizes = {
                block.node.child_path(name): len(block.choices[name]) if block.is_axis(name) else None
                for block in (task, model, train)
                for name in _names(group)
                if block and name in fields_of(block.settings)
            }
            if len(set(sizes.values())) > 1:
                each = (f"{path} has {f'{size} values' if size else 'one value'}" for path, size in sizes.items())
                group.fault(f"{' and '.join(each)}; accepted: lists of one length, or one value each")

    def _combine(self) -> None:
        """Combine the variants of the blocks, and leave out what is excluded."""
        pairs = itertools.product(self.tasks, self.models)
        count = sum(math.prod({**task.sizes, **model.sizes, **self.train.sizes}.values()) for task, model in pairs)
        if not check_combinations(count, self.node):
            return
        blocks = (*self.tasks, *self.models, self.train)
        attributes_of = {
            id(settings): _fixed(block, settings) for block in blocks for settings in block.variants.values()
        }
        self.num_combinations, self.kept = count, []
        for combination in self._combinations():
            values = [attributes_of[id(settings)] for settings in combination[:3]]
            hits = [node.origin for node, condition in self.exclude if holds(condition, *values)]
            self.matched.update(hits)
            if not hits:
                self.kept.append(combination)
        for task, model in {(id(task), id(model)): (task, model) for task, model, *_ in self.kept}.values():
            if reason := model.unfit(task.vocab_size):
                self.node.key("models").fault(f"{model.tier} cannot take {task.name}: {reason}", once=True)

    def _combinations(self) -> Iterator[Combination]:
        """Yield the combinations before exclusion: tasks, within them models, within them trainings."""
        trainings: dict[tuple[int | None, ...], list[TrainSpec]] = {}  # by the indices of axes that are fixed already
        for task in self.tasks:
            for of_task in task.indices({}):
                for model in self.models:
                    ranges = {**model.ranges, **self.train.ranges}
                    searched = tuple(ranges[name] for name in sorted(ranges))
                    for of_model in model.indices(of_task):
                        fixed = tuple(of_model.get(axis) for axis in self.train.sizes)
                        if fixed not in trainings:
                            trainings[fixed] = [*map(self.train.variant, self.train.indices(of_model))]
                        chosen = task.variant(of_task), model.variant(of_model)
                        for train in trainings[fixed]:
                            yield *chosen, train, searched

    def _refuse_ranges(self) -> None:
        """Add a fault for each searched field of a document that lists its learning rates."""
        for block in (*self.models, self.train):
            for name in block.ranges:
                block.node.key(name).fault(
                    "found a range, but learning_rate has no search; accepted: a value, or a range with "
                    "learning_rate: {log_uniform: [low, high], trials: 16}, which says how many points are tried"
                )

    def _check_tested(self) -> None:
        """Add a fault for each validation length that is tested, where it is written, whatever else has a fault."""
        lengths, tested = (self.node.key(key).key("lengths") for key in ("validate", "test"))
        others = [length.value for length in tested.items] if tested.is_written else list(self.test.lengths)
        message = "which is one of test.lengths"
        if not lengths.is_written:
            lengths, others = tested, list(self.validate.lengths)
            message = "which is one of validate.lengths by default"
        for length in lengths.items:
            if length.value in others:
                length.fault(f"found {length}, {message}; accepted: validation lengths that are not tested")

    def _check_validation(self) -> None:
        node, every = self.node.key("validate"), self.validate.every
        if not self.validate.lengths and True in self.train.values("stop_when_solved"):
            message = "found an empty list; accepted: at least one length, or stop_when_solved: false in train"
            node.key("lengths").fault(message)
        steps = min(int(value) for value in self.train.values("steps") if isinstance(value, int))
        if isinstance(self.learning_rate, Choices) and self.learning_rate.until_solved and steps <= every:
            # solved after two perfect evaluations: a trial that has fewer never ends the list of learning rates
            accepted = "accepted with until_solved: fewer, for at least two evaluations"
            node.key("every").fault(f"found {every} with {steps} steps; {accepted}")

    def _check_pruner(self) -> None:
        node, pruner, every = self.node.key("pruner"), self.pruner, self.validate.every
        if pruner.kind == "none":
            if node.entries and not node.key("kind").is_written:
                node.key("kind").fault("missing; accepted: none, halving, median")
            return
        if pruner.first % every:
            found = f"found {pruner.first}, but trials are evaluated every {every} steps"
            node.key("first").fault(f"{found}; accepted: a multiple of {every}, or validate.every: {pruner.first}")
        if isinstance(self.learning_rate, Choices) and self.learning_rate.until_solved:
            message = "found a pruner and until_solved: true, which tries one learning rate after the other"
            node.key("kind").fault(f"{message}; accepted: one of the two")


def _read_learning_rate(node: YamlNode) -> LearningRate | None:
    if node.is_list or isinstance(node.value, float | int):
        choices = node.items if node.is_list else [node]
        hint = f" (write {{choices: [{', '.join(map(str, choices))}]}})" if choices else ""
        node.refuse("a mapping with choices or log_uniform", hint)
        return None
    keys = node.entries.keys()
    if {"choices", "log_uniform"} <= keys:
        node.fault("found both choices and log_uniform; accepted: one of them")
        return None
    of_search = fields_of(LogUniform).keys()
    remarks = {"until_solved": " (only with choices)", **dict.fromkeys(of_search, " (only with log_uniform)")}
    if "choices" not in keys and of_search & keys:
        return read_settings(LogUniform, node, remarks=remarks)
    return read_settings(Choices, node, remarks=remarks)


def _fixed(block: Block, settings: Any) -> dict[str, Value]:
    """Return the attributes of settings, without searched fields."""
    return {name: value for name, value in attributes(settings).items() if name not in block.ranges}


def _with_sorted_lengths(settings: Any) -> Any:
    """Return the settings with sorted lengths, so that their order in the file makes no other trial."""
    return dataclasses.replace(settings, lengths=tuple(sorted(settings.lengths)))


def _plain(settings: Any) -> dict[str, object]:
    return {name: plain_value(value) for name, value in values_of(settings).items()}


def _read_zip(node: YamlNode, known: Collection[str]) -> list[YamlNode]:
    """Return the groups of fields that vary together; the fields are among ``known``."""
    taken: set[str] = set()
    groups = node.listed("a list of groups, such as [[hidden, embedding]]", may_be_empty=True)
    for group in groups:
        before = node.faults.num_added
        for item in group.listed("a list of names of fields that vary together, such as [hidden, embedding]"):
            name = item.value
            if not isinstance(name, str):
                item.refuse("the name of a field")
            elif name not in known:
                item.fault(unknown_name("field", name, sorted(known)))
            elif name in taken:
                item.fault(f'found "{name}" twice; accepted: each field once, in one group')
            else:
                taken.add(name)
        if len(group.items) < 2 and node.faults.num_added == before:
            group.refuse("at least two names")
    return groups


def _names(group: YamlNode) -> list[str]:
    return [str(item.value) for item in group.items]
