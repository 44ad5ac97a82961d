"""Every task and tier that there is, bilin's own and those of installed packages, and which of them a grid can name.

A field is a column of the results, and a condition names it without saying whose it is. So a name means one thing,
whoever declares it: settings of another package whose fields clash with others cannot be used.

Loads no torch, unless the module of another package does.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bilin.errors import InputError, PluginError, unknown
from bilin.fields import Field, fields_of
from bilin.models import MODEL_REGISTRY
from bilin.registry import OWN, Registry, package_of
from bilin.spec import TrainSpec
from bilin.tasks import TASK_REGISTRY
from bilin.version import __version__

REGISTRIES: Mapping[str, Registry[Any]] = {"tasks": TASK_REGISTRY, "models": MODEL_REGISTRY}
"""The registries, by the key of a grid whose entries name something in them."""

FIXED_COLUMNS = frozenset(
    {
        "accuracy", "accuracy_scaled", "attempts", "best", "cell_id", "commit", "cpu", "device", "error", "file_index",
        "finished_at", "found_in", "gpu", "gpu_memory_mb", "high", "high_scaled", "host", "length", "loss", "low",
        "low_scaled", "lr", "max", "max_steps", "mean", "min", "mixed", "mixed_hardware", "name", "nonfinite",
        "num_seeds", "num_sequences", "num_solved", "pack", "params", "part", "pid", "python", "recurrent_params",
        "rungs", "schema_version", "scores", "searched", "seed", "seeds", "selected", "sequence_accuracy", "solved",
        "source", "spec", "started_at", "status", "step", "steps", "stop_reason", "sweep", "task", "task_package",
        "test_lengths", "test_s", "tested", "threads", "tier", "tier_package", "torch", "traceback", "train_lengths",
        "training_loss", "trial_id", "validation_accuracy", "version", "wall_s", "worker",
    }
)  # fmt: skip
"""Names that no field may have: columns of the results, in any view, that are not fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A task or tier as listings show it.

    Attributes:
        summary: First line of the docstring of its module; ``text`` is the whole docstring.
        source: Short reference.
        package: Name and version of the package that declares it; None for bilin's own.
        error: Why a grid cannot name it, or cannot name it beside another; None if nothing is wrong. If it cannot be
            loaded, only its package is known.
    """

    name: str
    summary: str = ""
    text: str = ""
    fields: tuple[Field, ...] = ()
    source: str = ""
    package: str | None = None
    error: str | None = None


def listed(kind: str) -> list[Listed]:
    """Return all ``tasks`` or ``models``, including those that cannot be used. Imports what packages declare."""
    return [_listed(kind, name) for name in REGISTRIES[kind].names]


def find(kind: str, name: str) -> Listed:
    """Return one of the ``tasks`` or ``models``. Raises InputError for an unknown name."""
    registry = REGISTRIES[kind]
    if name not in registry.names:
        raise InputError(unknown(registry.what, name, registry.names))
    return _listed(kind, name)


def settings_of(kind: str, name: str) -> type:
    """Return the settings that an entry of a grid names, of the kind ``tasks`` or ``models``.

    Raises:
        KeyError: The name does not exist.
        PluginError: It is declared by another package and cannot be used.
    """
    settings: type = REGISTRIES[kind].settings(name)
    if package_of(settings) is not None and (message := next(_clashes(settings, _own_claims()), "")):
        raise PluginError(message)
    return settings


def usable(kind: str) -> dict[str, type]:
    """Return all ``tasks`` or ``models`` that a grid can name. Imports what installed packages declare."""
    settings = {}
    for name in REGISTRIES[kind].names:
        with suppress(PluginError):
            settings[name] = settings_of(kind, name)
    return settings


def clash(settings: type, others: Iterable[type]) -> str | None:
    """Return why settings of another package cannot be in one sweep with others; None if they can."""
    if package_of(settings) is None:
        return None
    claims = tuple(claim for other in others if other is not settings for claim in _claims(other))
    return next(_clashes(settings, claims), None)


def _listed(kind: str, name: str) -> Listed:
    registry = REGISTRIES[kind]
    try:
        settings = settings_of(kind, name)
        error = clash(settings, _foreign()) if package_of(settings) else None
    except PluginError as fault:
        error = str(fault)
        if name not in registry.own:
            return Listed(name=name, package=", ".join(entry.package for entry in registry.entries(name)), error=error)
        settings = registry.own_first(name)  # they are sound, but a grid can no longer name them
    text = inspect.getdoc(sys.modules[settings.__module__]) or ""
    return Listed(
        name=name,
        summary=text.partition("\n")[0],
        text=text,
        fields=tuple(fields_of(settings).values()),
        source=getattr(settings, "source", ""),
        package=package_of(settings),
        error=error,
    )


@functools.cache
def _foreign() -> tuple[type, ...]:
    return tuple(settings for kind in REGISTRIES for settings in usable(kind).values() if package_of(settings))


@dataclass(frozen=True, slots=True)
class _Claim:
    """A name that is taken by a field of a ``task``, a ``tier`` or ``train``, or by a ``column``."""

    name: str
    block: str
    whose: str
    field: Field | None


@functools.cache
def _own_claims() -> tuple[_Claim, ...]:
    here = f"{OWN} {__version__}"
    columns = [_Claim(name, "column", f"a column of the results of {here}", None) for name in FIXED_COLUMNS]
    train = [_Claim(name, "train", f"a field of train in {here}", None) for name in fields_of(TrainSpec)]
    own = [registry.own_first(name) for registry in REGISTRIES.values() for name in registry.own]
    return (*columns, *train, *(claim for settings in own for claim in _claims(settings)))


def _claims(settings: Any) -> list[_Claim]:
    registry = next(registry for registry in REGISTRIES.values() if issubclass(settings, registry.base))
    package = package_of(settings) or f"{OWN} {__version__}"
    whose = f'a field of the {registry.what} "{getattr(settings, registry.key)}" of {package}'
    return [_Claim(name, registry.what, whose, field) for name, field in fields_of(settings).items()]


def _clashes(settings: type, claims: Iterable[_Claim]) -> Iterator[str]:
    """Yield a message for each field whose name is taken, ignoring case, as the results do."""
    taken: dict[str, list[_Claim]] = {}
    for claim in claims:
        taken.setdefault(claim.name.lower(), []).append(claim)
    for mine in _claims(settings):
        for other in taken.get(mine.name.lower(), ()):
            if fault := _difference(mine, other):
                yield f"{mine.name!r}, {mine.whose}, {fault}; rename it, or name only one of the two in a grid"


def _difference(mine: _Claim, other: _Claim) -> str:
    """Return why a field cannot share its name with another; empty if it can."""
    if mine.block != other.block or mine.field is None or other.field is None:
        return f"has the name of {other.whose}"
    if mine.name != other.name:
        return f"differs only in case from {other.name!r}, {other.whose}"
    if (mine.field.type, mine.field.is_list) != (other.field.type, other.field.is_list):
        return f"is {_kind(mine.field)}, but {_kind(other.field)} as {other.whose}"
    return ""


def _kind(field: Field) -> str:
    name = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[field.type]
    return f"a list of {name}" if field.is_list else name
