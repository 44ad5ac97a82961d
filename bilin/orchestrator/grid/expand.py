"""From the blocks of a document to the combinations of its cells.

Each block has one settings object for each combination of its own axes, built and checked once. The cells share them:
a hundred thousand cells are mostly combinations of the same few settings.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from bilin.fields import Value, fields_of
from bilin.orchestrator.grid.blocks import Block, Variant
from bilin.orchestrator.grid.conditions import attributes
from bilin.orchestrator.grid.place import Place, unknown_name
from bilin.registry import blamed_on_its_package

MAX_COMBINATIONS = 1_000_000

Combination = tuple[Variant, Variant, Variant]
"""A task, a model and a training."""


def vary(block: Block, zips: Sequence[Place]) -> Block | None:
    """Return a block with its variants; None if some of its values are not accepted, or not together."""
    faults = block.place.faults
    before = len(faults)
    groups = {name: group.path for group in zips for name in names_in_group(group)}
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
        return None
    variants = []
    for combination in itertools.product(*map(range, sizes.values())):
        indices = dict(zip(sizes, combination, strict=True))
        with blamed_on_its_package(block.settings):
            settings = block.select({name: index for axis, index in indices.items() for name in axes[axis]})
        if settings is not None:
            variants.append(Variant(settings, indices, attributes(settings)))
    return dataclasses.replace(block, sizes=sizes, variants=tuple(variants)) if len(faults) == before else None


def too_many_combinations(count: int) -> str:
    """Return the message for more combinations than a grid may have."""
    found = f"{count:,}" if count < 10**12 else "more than 10^12"
    return f"found {found} combinations; accepted: at most {MAX_COMBINATIONS:,} in one grid"


def combine(tasks: Sequence[Block], models: Sequence[Block], train: Block) -> Iterator[Combination]:
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


def names_in_group(group: Place) -> list[str]:
    """Return the fields of a group of ``zip``."""
    return [str(item.value) for item in (group.node.items if group.node else ())]


def read_zip(place: Place, known: Collection[str]) -> list[Place]:
    """Return the places of the groups of fields that vary together.

    Args:
        place: Where ``zip`` is.
        known: The fields that the entries of the document have and that can be an axis.
    """
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


def check_lengths(zips: Sequence[Place], tasks: Sequence[Block], models: Sequence[Block], train: Block | None) -> None:
    """Add a fault for each group whose fields cannot vary together in some combination of entries.

    The fields of the group that a combination has must all be lists of one length, or all be one value.
    """
    none: list[Block | None] = [None]
    for group, task, model in itertools.product(zips, tasks or none, models or none):
        sizes = {
            f"{block.place.path}.{name}": f"{len(block.choices[name])} values" if block.is_axis(name) else "one value"
            for block in (task, model, train)
            if block
            for name in names_in_group(group)
            if name in fields_of(block.settings)
        }
        if len(set(sizes.values())) > 1:
            found = " and ".join(f"{path} has {size}" for path, size in sizes.items())
            group.fault(f"{found}; accepted: lists of one length, or one value each")
