"""Names of tasks and tiers, and where their settings are: what can be swept, without importing any of it.

A registry holds bilin's own names, in one literal dict in the package's ``__init__``, and the names that installed
packages declare as entry points. Only names are read; a module of another package is imported when its name is used.
Standard library only.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar, cast

from bilin.errors import PluginError, one_line
from bilin.fields import fields_of
from bilin.version import __version__

T = TypeVar("T")

OWN = "bilin"
TASKS_GROUP, MODELS_GROUP = "bilin.tasks", "bilin.models"

_LONGEST_ERROR = 300


@functools.cache
def load(place: str) -> Any:
    """Return the object at a place such as ``bilin.models.bilinear.full:Full``."""
    module, _, name = place.partition(":")
    return attrgetter(name.strip())(importlib.import_module(module.strip()))


@dataclass(frozen=True, slots=True)
class Entry:
    """A name that a package declares.

    Attributes:
        place: Module and class, as `load` takes it.
        package: Name and version of the package.
    """

    name: str
    place: str
    package: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry(Generic[T]):
    """The names that one key of a grid accepts: bilin's own, and those that installed packages declare.

    Attributes:
        what: ``task`` or ``tier``.
        key: Key of a grid's entry that holds the name, and class variable of the settings that holds it.
        group: Group of entry points in which packages declare their own.
        own: Places of bilin's own settings, by name.
        base: Base class of the settings.
    """

    what: str
    key: str
    group: str
    own: Mapping[str, str]
    base: type[T]

    @property
    def names(self) -> tuple[str, ...]:
        """Bilin's own names in order, then those of other packages, including faulty ones."""
        return tuple(dict.fromkeys([*self.own, *(entry.name for entry in declared(self.group))]))

    def entries(self, name: str) -> tuple[Entry, ...]:
        """Return the entry under a name, or one entry for each package that declares it."""
        own = (Entry(name, self.own[name], f"{OWN} {__version__}"),) if name in self.own else ()
        return (*own, *(entry for entry in declared(self.group) if entry.name == name))

    def settings(self, name: str) -> type[T]:
        """Return the class of settings under a name.

        Raises:
            KeyError: The name does not exist.
            PluginError: Several packages declare the name, or its settings cannot be used.
        """
        entries = self.entries(name)
        if not entries:
            raise KeyError(name)
        if len(entries) > 1:
            packages = " and by ".join(entry.package for entry in entries)
            raise PluginError(
                f'the {self.what} "{name}" is declared by {packages}; accepted: one package a name; '
                f"rename one, or uninstall its package"
            )
        return self.own_first(name) if name in self.own else self._load(entries[0])

    def own_first(self, name: str) -> type[T]:
        """Return what `settings` returns, but bilin's own under a name that others declare too."""
        return cast(type[T], load(self.own[name])) if name in self.own else self.settings(name)

    def fault(self, settings: Any, name: str) -> str:
        """Return what is wrong with an object that an entry point names; empty if nothing is."""
        if not isinstance(settings, type) or not issubclass(settings, self.base):
            return f"is not a class that extends {self.base.__module__.rpartition('.')[0]}.{self.base.__name__}"
        if inspect.isabstract(settings):
            return f"lacks {', '.join(sorted(vars(settings)['__abstractmethods__']))}"
        if (found := getattr(settings, self.key, None)) != name:
            return f'has {self.key} = "{found}"; accepted: the name of its entry point, "{name}"'
        parameters = settings.__dict__.get("__dataclass_params__")
        if parameters is None or not parameters.frozen:
            return "is not a frozen dataclass; accepted: @dataclass(frozen=True, slots=True, kw_only=True)"
        return _field_fault(settings)

    def _load(self, entry: Entry) -> type[T]:
        """Import the settings of another package."""
        if not entry.place.partition(":")[2].strip():
            raise self._error(entry, "names no class; accepted: module:Class")
        try:
            with redirect_stdout(sys.stderr):  # what it prints must not be part of a command's output
                settings = load(entry.place)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # an import of another package's code may raise anything
            raise self._error(entry, f"cannot be loaded ({_short(error)})") from error
        if fault := self.fault(settings, entry.name):
            raise self._error(entry, fault)
        return cast(type[T], settings)

    def _error(self, entry: Entry, fault: str) -> PluginError:
        return PluginError(
            f'the {self.what} "{entry.name}" of {entry.package}, {entry.place}, {fault}; fix or uninstall it'
        )


def _field_fault(settings: type) -> str:
    try:
        fields = fields_of(settings)
    except Exception as error:  # an annotation may be any code
        return f"has a field that cannot be read ({type(error).__name__}: {error})"
    undeclared = [field.name for field in dataclasses.fields(settings) if field.name not in fields]
    if undeclared:
        name = undeclared[0]
        return f"has a field {name!r} that is not declared; accepted: {name} = bilin.fields.option(…, doc=…)"
    if len({name.lower() for name in fields}) < len(fields):
        return "has fields whose names differ only in case"
    for field in fields.values():
        try:
            _ = field.required or field.convert(field.default)
        except ValueError:
            return f"has {field.default!r} as the default of {field.name!r}; accepted: {field.accepted}"
    return ""


@contextmanager
def blamed_on_its_package(settings: type) -> Iterator[None]:
    """Turn any exception from the code of another package's settings into an error that names the package.

    Raises:
        PluginError: In place of any other exception, unless the settings are bilin's own.
    """
    try:
        yield
    except Exception as error:
        package = package_of(settings)
        if package is None or isinstance(error, PluginError):
            raise
        fault = f"{settings.__qualname__} of {package} fails while its fields are checked ({_short(error)})"
        raise PluginError(f"{fault}; fix or uninstall it") from error


@functools.cache
def declared(group: str) -> tuple[Entry, ...]:
    """Return what installed packages declare in a group of entry points, without importing any of it."""
    entries = {
        Entry(point.name, point.value, f"{point.dist.name} {point.dist.version}")
        for point in _entry_points(group)
        if point.dist is not None
    }
    return tuple(sorted(entries, key=lambda entry: (entry.name, entry.package)))


def _entry_points(group: str) -> Iterable[importlib.metadata.EntryPoint]:
    try:
        return importlib.metadata.entry_points(group=group)
    except Exception:  # the entry points of some package cannot be parsed: return those of all others
        points: list[importlib.metadata.EntryPoint] = []
        for dist in importlib.metadata.distributions():
            with suppress(Exception):
                points += dist.entry_points.select(group=group)
        return points


def _short(error: BaseException) -> str:
    text = one_line(error)
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]} …"


def origin(settings: type) -> str:
    """Return the package that defines a class: the outermost one on its path that is not a namespace package."""
    words = settings.__module__.split(".")
    paths = (".".join(words[:count]) for count in range(1, len(words)))
    return next((path for path in paths if getattr(sys.modules.get(path), "__file__", None)), settings.__module__)


def package_of(settings: type) -> str | None:
    """Return name and version of the package that defines a class; None for bilin's own."""
    home = origin(settings)
    if home == OWN:
        return None
    entries = (*declared(TASKS_GROUP), *declared(MODELS_GROUP))
    return next(
        (entry.package for entry in entries if f"{entry.place.partition(':')[0]}.".startswith(f"{home}.")), home
    )
