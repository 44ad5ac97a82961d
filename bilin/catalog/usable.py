"""What a grid can name: whether the fields of another package's tasks and tiers fit in.

A field is a column of the results, and a condition names it without saying whose it is; so one name means one
thing, whoever declares it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bilin.errors import PluginError
from bilin.fields import Field, fields_of
from bilin.models import MODEL_REGISTRY
from bilin.registry import OWN, Registry, load, package_of
from bilin.spec import TrainSpec
from bilin.tasks import TASK_REGISTRY
from bilin.version import __version__

REGISTRIES: Mapping[str, Registry[Any]] = {"tasks": TASK_REGISTRY, "models": MODEL_REGISTRY}
"""What the entries of a grid may name, by the key that they stand under."""

FIXED_COLUMNS = frozenset(
    {
        "accuracy", "accuracy_scaled", "attempts", "best", "cell_id", "commit", "cpu", "device", "error",
        "finished_at", "high", "host", "length", "loss", "low", "lr", "max_steps", "mean", "name", "num_seeds",
        "num_sequences", "num_solved", "params", "part", "pid", "python", "recurrent_params", "schema_version",
        "seed", "sequence_accuracy", "solved", "source", "spec", "started_at", "status", "step", "steps",
        "stop_reason", "sweep", "task", "task_package", "test_lengths", "tested", "threads", "tier",
        "tier_package", "torch", "traceback", "train_lengths", "training_loss", "trial_id",
        "validation_accuracy", "version", "wall_s", "worker",
    }
)  # fmt: skip
"""Names that no field may have: those of the columns of the results that are no field, in any view."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """A name that is taken: by a field of a ``task``, a ``tier`` or ``train``, or by a ``column``."""

    name: str
    block: str
    whose: str
    field: Field | None


def settings_of(kind: str, name: str) -> type:
    """The settings that an entry of a grid names.

    Args:
        kind: ``tasks`` or ``models``.
        name: What it names.

    Raises:
        KeyError: There is no such name.
        PluginError: It is another package's, and cannot be used.
    """
    settings: type = REGISTRIES[kind].settings(name)
    if package_of(settings) is not None and (found := next(_clashes(settings, _own_claims()), "")):
        raise PluginError(found)
    return settings


def clash(settings: type, others: Iterable[type]) -> str | None:
    """Why settings of another package cannot be in one sweep with those of others; None where they can."""
    if package_of(settings) is None:
        return None
    claims = tuple(claim for other in others if other is not settings for claim in _claims(other))
    return next(_clashes(settings, claims), None)


def usable(kind: str) -> dict[str, type]:
    """The settings of all that a grid can name; imports what installed packages declare.

    Args:
        kind: ``tasks`` or ``models``.
    """
    found = {}
    for name in REGISTRIES[kind].names:
        with suppress(PluginError):
            found[name] = settings_of(kind, name)
    return found


@functools.cache
def _own_claims() -> tuple[_Claim, ...]:
    columns = [
        _Claim(name, "column", f"a column of the results of {OWN} {__version__}", None) for name in FIXED_COLUMNS
    ]
    train = [_Claim(name, "train", f"a field of train in {OWN} {__version__}", None) for name in fields_of(TrainSpec)]
    own = [load(place) for registry in REGISTRIES.values() for place in registry.own.values()]
    return (*columns, *train, *(claim for settings in own for claim in _claims(settings)))


def _claims(settings: Any) -> list[_Claim]:
    block, named = _named_as(settings)
    return [_Claim(name, block, f"a field of {named}", field) for name, field in fields_of(settings).items()]


def _clashes(settings: type, claims: Iterable[_Claim]) -> Iterator[str]:
    """What is wrong with each field that has the name of another's, as the results see names: in either case."""
    taken: dict[str, list[_Claim]] = {}
    for claim in claims:
        taken.setdefault(claim.name.lower(), []).append(claim)
    for mine in _claims(settings):
        for other in taken.get(mine.name.lower(), ()):
            if wrong := _difference(mine, other):
                yield f"{mine.name!r}, {mine.whose}, {wrong}; rename it there, or leave one of the two out"


def _difference(mine: _Claim, other: _Claim) -> str:
    """Why a field cannot share its name with another; empty where it can."""
    if mine.block != other.block or mine.field is None or other.field is None:
        return f"has the name of {other.whose}"
    if mine.name != other.name:
        return f"differs only in case from {other.name!r}, {other.whose}"
    if (mine.field.type, mine.field.is_list) != (other.field.type, other.field.is_list):
        return f"is {_kind(mine.field)}, but {_kind(other.field)} as {other.whose}"
    return ""


def _named_as(settings: Any) -> tuple[str, str]:
    registry = next(registry for registry in REGISTRIES.values() if issubclass(settings, registry.base))
    package = package_of(settings) or f"{OWN} {__version__}"
    return registry.what, f'the {registry.what} "{getattr(settings, registry.key)}" of {package}'


def _kind(field: Field) -> str:
    name = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[field.type]
    return f"a list of {name}" if field.is_list else name
