"""Every task and tier that there is, as listings show it."""

from __future__ import annotations

import functools
import inspect
import sys
from dataclasses import dataclass
from typing import Any

from bilin.catalog.usable import REGISTRIES, clash, settings_of, usable
from bilin.errors import InputError, PluginError, nearest
from bilin.fields import Field, fields_of
from bilin.registry import load, package_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A task or tier as listings show it.

    Attributes:
        summary: The first line of its module's docstring; ``text`` the whole.
        source: Where it comes from, in short.
        package: Name and version of the package that it comes from; None for bilin's own.
        fault: Why a grid cannot name it, or not beside another; of a broken one no more is known than its package.
    """

    name: str
    summary: str = ""
    text: str = ""
    fields: tuple[Field, ...] = ()
    source: str = ""
    package: str | None = None
    fault: str | None = None


def tiers() -> list[Listed]:
    """All tiers, sound or not; imports what installed packages declare."""
    return _listing("models")


def tasks() -> list[Listed]:
    """All tasks, sound or not; imports what installed packages declare."""
    return _listing("tasks")


def tier(name: str) -> Listed:
    """One tier. Raises InputError for a name that is not there."""
    return _named("models", name)


def task(name: str) -> Listed:
    """One task. Raises InputError for a name that is not there."""
    return _named("tasks", name)


def _listing(kind: str) -> list[Listed]:
    return [_listed(kind, name) for name in REGISTRIES[kind].names]


def _named(kind: str, name: str) -> Listed:
    registry = REGISTRIES[kind]
    if name not in registry.names:
        there = ", ".join(registry.names)
        raise InputError(f'no {registry.what} "{name}"{nearest(name, registry.names)}; there: {there}')
    return _listed(kind, name)


def _listed(kind: str, name: str) -> Listed:
    registry = REGISTRIES[kind]
    try:
        settings = settings_of(kind, name)
        return _described(name, settings, clash(settings, _foreign()) if package_of(settings) else None)
    except PluginError as error:
        if name in registry.own:  # bilin's own is sound, though a grid can no longer name it
            return _described(name, load(registry.own[name]), str(error))
        packages = ", ".join(entry.package for entry in registry.entries(name))
        return Listed(name=name, package=packages, fault=str(error))


@functools.cache
def _foreign() -> tuple[type, ...]:
    return tuple(settings for kind in REGISTRIES for settings in usable(kind).values() if package_of(settings))


def _described(name: str, settings: Any, fault: str | None = None) -> Listed:
    text = inspect.getdoc(sys.modules[settings.__module__]) or ""
    return Listed(
        name=name,
        summary=text.partition("\n")[0],
        text=text,
        fields=tuple(fields_of(settings).values()),
        source=getattr(settings, "source", ""),
        package=package_of(settings),
        fault=fault,
    )
