"""A document of a grid: the whole file, or one item of ``grids``; from its blocks to the combinations of its cells.

Each block has one settings object for each combination of its own axes, built and checked once. The cells share them:
a hundred thousand cells are mostly combinations of the same few settings.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from bilin.catalog import REGISTRIES
from bilin.fields import Value, fields_of, plain_value, values_of
from bilin.orchestrator.grid.blocks import Block, Variant, named_settings, read_block, read_entries, read_settings
from bilin.orchestrator.grid.conditions import Condition, attributes, known_fields, read_exclude
from bilin.orchestrator.grid.grid import Axis
from bilin.orchestrator.grid.place import Place, unknown_name
from bilin.orchestrator.grid.settings import TOP_KEYS, Choices, LearningRate, LogUniform, Seeds
from bilin.orchestrator.grid.yaml import YamlNode
from bilin.registry import blamed_on_its_package
from bilin.spec import Resources, TestSpec, TrainSpec, ValidateSpec

MAX_COMBINATIONS = 1_000_000

Combination = tuple[Variant, Variant, Variant]
"""A task, a model and a training."""


def too_many_combinations(count: int) -> str:
    """Return the message for more combinations than a grid may have."""
    found = f"{count:,}" if count < 10**12 else "more than 10^12"
    return f"found {found} combinations; accepted: at most {MAX_COMBINATIONS:,} in one grid"


class Document:
    """What a document says: the blocks of its cells, and what is run in each of them.

    Reading adds its faults. If there are any, what could not be read has its default.

    Attributes:
        place: Where it is.
        num_combinations: The number of combinations before exclusion.
        kept: Those that are not excluded; None if the blocks have a fault, so that they were not combined.
        matched: Which exclusions mean some combination.
    """

    def __init__(self, place: Place, root: Place) -> None:
        self.place = place
        self.num_combinations = 0
        self.kept: list[Combination] | None = None
        self.matched: set[int] = set()
        self._root = root
        before = len(place.faults)
        train = read_block(TrainSpec, self._find("train"), axes=True)
        self._read_cells(train)
        if len(place.faults) == before and self.tasks and self.models:
            self._combine()
        validate = read_settings(ValidateSpec, self._find("validate"))
        test = read_settings(TestSpec, self._find("test"))
        learning_rate = self._read_learning_rate()
        self.validate: ValidateSpec = _with_sorted_lengths(validate or ValidateSpec())
        self.test: TestSpec = _with_sorted_lengths(test or TestSpec())
        self.learning_rate: LearningRate = learning_rate or Choices()
        self.resources = read_settings(Resources, self._find("resources")) or Resources()
        owner = self._owner("seeds")
        alone = YamlNode(None, {key: node for key, node in owner.entries.items() if key == "seeds"})
        self.seeds = (read_settings(Seeds, dataclasses.replace(owner, node=alone)) or Seeds()).seeds
        self._check_tested()
        if validate and train:
            self._check_validation(train)

    @property
    def where(self) -> str:
        """The path and the line of the document, for messages."""
        line = self.place.node.line if self.place.node else None
        return f"{self.place.path} (line {line})" if line else self.place.path

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What varies: the fields that have several values over all entries."""
        found: dict[str, dict[Value, None]] = {}
        for block in (*self.tasks, *self.models, self.train):
            for registry in REGISTRIES.values():
                if issubclass(block.settings, registry.base):
                    found.setdefault(registry.what, {})[getattr(block.settings, registry.key)] = None
            for name in fields_of(block.settings):
                found.setdefault(name, {}).update(dict.fromkeys(block.values(name)))
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
            "seeds": list(self.seeds),
            "resources": _plain(self.resources),
            "zip": [_names_in_group(group) for group in self.zips],
            "exclude": [condition.place.node.to_plain() for condition in self.exclude if condition.place.node],
        }

    def _owner(self, key: str) -> Place:
        """Return the mapping that has a key: the document, or the top level if the document lacks it."""
        return self._root if key not in self.place.entries and key in self._root.entries else self.place

    def _find(self, key: str) -> Place:
        return self._owner(key).key(key)

    def _read_cells(self, train: Block | None) -> None:
        """Read what the cells are made from. The blocks without faults are varied."""
        faults = self.place.faults
        entries = {
            kind: read_entries(kind, self._find(kind), may_be_missing=self.place.is_misspelt(kind, TOP_KEYS))
            for kind in REGISTRIES
        }
        every = [*entries["tasks"], *entries["models"], train]
        sound = [block for block in every if block]
        known = known_fields(
            settings
            for kind in REGISTRIES
            if (node := self._find(kind).node)
            for settings in named_settings(kind, node.items)
        )
        self.exclude: list[Condition] = read_exclude(self._find("exclude"), known)
        before = len(faults)
        fields = [field for block in sound for field in fields_of(block.settings).values()]
        if len(sound) < len(every):
            fields += [field for named in known.values() for field in named]
        self.zips = _read_zip(self._find("zip"), {field.name for field in fields if not field.is_list})
        tasks, models = ([block for block in entries[kind] if block] for kind in ("tasks", "models"))
        if len(entries["tasks"]) * len(entries["models"]) > MAX_COMBINATIONS:
            self.place.fault(too_many_combinations(len(entries["tasks"]) * len(entries["models"])))
        elif len(faults) == before:
            _check_lengths(self.zips, tasks, models, train)
        if len(faults) == before:
            varied = {id(block): _vary(block, self.zips) for block in sound}
            tasks, models = ([varied[id(block)] for block in some] for some in (tasks, models))
            train = varied[id(train)] if train else None
        self.tasks, self.models = tasks, models
        self.train = train or Block(settings=TrainSpec, place=self._find("train"), choices={})

    def _combine(self) -> None:
        """Combine the variants of the blocks, and leave out what is excluded."""
        pairs = itertools.product(self.tasks, self.models)
        count = sum(math.prod({**task.sizes, **model.sizes, **self.train.sizes}.values()) for task, model in pairs)
        if count > MAX_COMBINATIONS:
            self.place.fault(too_many_combinations(count))
            return
        self.num_combinations, self.kept = count, []
        for combination in _combinations(self.tasks, self.models, self.train):
            values = [variant.attributes for variant in combination]
            hits = [index for index, condition in enumerate(self.exclude) if condition.holds(*values)]
            self.matched.update(hits)
            if not hits:
                self.kept.append(combination)

    def _read_learning_rate(self) -> LearningRate | None:
        place = self._find("learning_rate")
        if place.node and not place.node.is_mapping:
            choices = place.node.items or ((place.node,) if isinstance(place.node.value, float | int) else ())
            hint = f" (write {{choices: [{', '.join(map(str, choices))}]}})" if choices else ""
            place.refuse("a mapping with choices or log_uniform", hint)
            return None
        keys = place.entries.keys()
        if {"choices", "log_uniform"} <= keys:
            place.fault("found both choices and log_uniform; accepted: one of them")
            return None
        is_search = "choices" not in keys and {"log_uniform", "trials", "round"} & keys
        with_search = " (only with log_uniform)"
        remarks = {"until_solved": " (only with choices)", "trials": with_search, "round": with_search}
        if is_search:
            return read_settings(LogUniform, place, remarks=remarks)
        return read_settings(Choices, place, remarks=remarks)

    def _check_tested(self) -> None:
        """Add a fault for each validation length that is tested, where it is written, whatever else has a fault."""
        validated, tested = (self._find(key).key("lengths") for key in ("validate", "test"))
        places, others = validated.items(), _values(tested, self.test.lengths)
        message = "which is one of test.lengths"
        if validated.node is None:
            places, others = tested.items(), self.validate.lengths
            message = "which is one of validate.lengths by default"
        for place in places:
            if place.node and place.node.value in others:
                place.fault(f"found {place.node}, {message}; accepted: validation lengths that are not tested")

    def _check_validation(self, train: Block) -> None:
        place, every = self._find("validate"), self.validate.every
        if not self.validate.lengths and True in train.values("stop_when_solved"):
            message = "found an empty list; accepted: at least one length, or stop_when_solved: false in train"
            place.key("lengths").fault(message)
        steps = min(int(value) for value in train.values("steps") if isinstance(value, int))
        if isinstance(self.learning_rate, Choices) and self.learning_rate.until_solved and steps <= every:
            # solved after two perfect evaluations: a trial that has fewer never ends the list of learning rates
            message = (
                f"found {every} with {steps} steps; accepted with until_solved: fewer, for at least two evaluations"
            )
            place.key("every").fault(message)


def _values(place: Place, default: Collection[object]) -> Collection[object]:
    """Return the items of a list as they are written, also of one with faults; the default if none is written."""
    return [item.node.value for item in place.items() if item.node] if place.node else default


def _with_sorted_lengths(settings: Any) -> Any:
    """Return the settings with sorted lengths, so that their order in the file makes no other trial."""
    return dataclasses.replace(settings, lengths=tuple(sorted(settings.lengths)))


def _plain(settings: Any) -> dict[str, object]:
    return {name: plain_value(value) for name, value in values_of(settings).items()}


def _vary(block: Block, zips: Sequence[Place]) -> Block:
    """Return a block with its variants; without them if some of its values are not accepted, or not together."""
    faults = block.place.faults
    before = len(faults)
    groups = {name: group.path for group in zips for name in _names_in_group(group)}
    axes: dict[str, list[str]] = defaultdict(list)
    for name in filter(block.is_axis, block.choices):
        axes[groups.get(name, name)].append(name)
        if name not in groups:
            seen: set[Value] = set()
            for value, place in zip(block.choices[name], block.place.key(name).items(), strict=True):
                if value in seen:
                    place.fault(f"found {place.node} twice; accepted: each value once")
                seen.add(value)
    sizes = {axis: len(block.choices[names[0]]) for axis, names in axes.items()}
    if math.prod(sizes.values()) > MAX_COMBINATIONS:
        block.place.fault(too_many_combinations(math.prod(sizes.values())))
    if len(faults) > before:
        return block
    variants = []
    for combination in itertools.product(*map(range, sizes.values())):
        indices = dict(zip(sizes, combination, strict=True))
        with blamed_on_its_package(block.settings):
            settings = block.select({name: index for axis, index in indices.items() for name in axes[axis]})
        if settings is not None:
            variants.append(Variant(settings, indices, attributes(settings)))
    return dataclasses.replace(block, sizes=sizes, variants=tuple(variants))


def _combinations(tasks: Sequence[Block], models: Sequence[Block], train: Block) -> Iterator[Combination]:
    """Return the combinations before exclusion: tasks, within them models, within them trainings."""
    for task in tasks:
        finders = [(_finder(model, task.sizes), _finder(train, {**task.sizes, **model.sizes})) for model in models]
        for first in task.variants:
            for find_models, find_trainings in finders:
                for second in find_models(first.indices):
                    for third in find_trainings({**first.indices, **second.indices}):
                        yield first, second, third


def _finder(block: Block, sizes: Collection[str]) -> Callable[[Mapping[str, int]], list[Variant]]:
    """Return a function that finds the variants with given indices of the groups that are among ``sizes`` too."""
    shared = [axis for axis in block.sizes if axis in sizes]
    variants: dict[tuple[int, ...], list[Variant]] = defaultdict(list)
    for variant in block.variants:
        variants[tuple(variant.indices[axis] for axis in shared)].append(variant)
    return lambda indices: variants[tuple(indices[axis] for axis in shared)]


def _names_in_group(group: Place) -> list[str]:
    return [str(item.value) for item in (group.node.items if group.node else ())]


def _read_zip(place: Place, known: Collection[str]) -> list[Place]:
    """Return the places of the groups of fields that vary together; the fields are among ``known``."""
    taken: set[str] = set()
    groups = place.listed("a list of groups, such as [[hidden, embedding]]", may_be_empty=True)
    for group in groups:
        before = len(place.faults)
        names = group.listed("a list of names of fields that vary together, such as [hidden, embedding]")
        for item in names:
            name = item.node.value if item.node else None
            if not isinstance(name, str):
                item.refuse("the name of a field")
            elif name not in known:
                item.fault(unknown_name("field", name, sorted(known)))
            elif name in taken:
                item.fault(f'found "{name}" twice; accepted: each field once, in one group')
            else:
                taken.add(name)
        if len(names) < 2 and len(place.faults) == before:
            group.refuse("at least two names")
    return groups


def _check_lengths(zips: Sequence[Place], tasks: Sequence[Block], models: Sequence[Block], train: Block | None) -> None:
    """Add a fault for each group whose fields cannot vary together in some combination of entries.

    The fields of the group that a combination has must all be lists of one length, or all be one value.
    """
    none: list[Block | None] = [None]
    for group, task, model in itertools.product(zips, tasks or none, models or none):
        sizes = {
            f"{block.place.path}.{name}": f"{len(block.choices[name])} values" if block.is_axis(name) else "one value"
            for block in (task, model, train)
            if block
            for name in _names_in_group(group)
            if name in fields_of(block.settings)
        }
        if len(set(sizes.values())) > 1:
            found = " and ".join(f"{path} has {size}" for path, size in sizes.items())
            group.fault(f"{found}; accepted: lists of one length, or one value each")
