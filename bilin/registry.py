"""Names to where their settings live: what can be swept, without importing any of it.

A registry is one literal dict in a room's ``__init__`` (a name there is the name in grid.yaml, in the
results, and of the file), and what installed packages declare as entry points. Of those only the names
are read; a module of another package is imported where its name is used. Standard library only.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Generic, TypeVar

from bilin.errors import PluginError, one_line
from bilin.fields import fields_of
from bilin.version import __version__

T = TypeVar("T")

OWN = "bilin"
_LONGEST_ERROR = 300
TASKS_GROUP, MODELS_GROUP = "bilin.tasks", "bilin.models"


@functools.cache
def load(place: str) -> Any:
    """The object at a place such as ``bilin.models.bilinear.full:Full``."""
    module, _, name = place.partition(":")
    return attrgetter(name.strip())(importlib.import_module(module.strip()))


@dataclass(frozen=True, slots=True)
class Entry:
    """What one package has under a name.

    Attributes:
        place: Module and class, as `load` takes it.
        package: Name and version of the package.
    """

    name: str
    place: str
    package: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry(Generic[T]):
    """What the entries of one key of a grid may name: bilin's own, and what installed packages declare.

    Attributes:
        what: ``task`` or ``tier``.
        key: The key of a grid's entry that names it, and the class variable that holds its name.
        group: The group of entry points in which a package declares its own.
        own: Places of bilin's own by name.
        base: What the settings extend.
    """

    what: str
    key: str
    group: str
    own: Mapping[str, str]
    base: type[T]

    @property
    def names(self) -> tuple[str, ...]:
        """Bilin's own in their order, then those of other packages; sound or not."""
        return (*self.own, *dict.fromkeys(entry.name for entry in declared(self.group) if entry.name not in self.own))

    def entries(self, name: str) -> tuple[Entry, ...]:
        """What stands under a name: one entry, or one for each of the packages that claim it."""
        own = (Entry(name, self.own[name], f"{OWN} {__version__}"),) if name in self.own else ()
        return (*own, *(entry for entry in declared(self.group) if entry.name == name))

    def settings(self, name: str) -> type[T]:
        """The settings under a name.

        Raises:
            KeyError: There is no such name.
            PluginError: Several packages claim it, or the one that has it is broken.
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
        (entry,) = entries
        return load(entry.place) if name in self.own else self._load(entry)

    def _load(self, entry: Entry) -> type[T]:
        if not entry.place.partition(":")[2].strip():
            raise PluginError(self._broken(entry, "names no class; accepted: module:Class"))
        try:
            with redirect_stdout(sys.stderr):  # what it prints must not stand in what a command prints
                found = load(entry.place)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever the code of another package does on import
            raise PluginError(self._broken(entry, f"cannot be loaded ({_short(error)})")) from error
        if fault := self._fault(found, entry.name):
            raise PluginError(self._broken(entry, fault))
        settings: type[T] = found
        return settings

    def _broken(self, entry: Entry, fault: str) -> str:
        return f'the {self.what} "{entry.name}" of {entry.package}, {entry.place}, {fault}; mend or uninstall it'

    def _fault(self, found: Any, name: str) -> str:
        """What is wrong with what an entry point leads to; empty where nothing is."""
        if not isinstance(found, type) or not issubclass(found, self.base):
            return f"is no class that extends {self.base.__module__.rpartition('.')[0]}.{self.base.__name__}"
        if inspect.isabstract(found):
            return f"lacks {', '.join(sorted(vars(found)['__abstractmethods__']))}"
        if (said := getattr(found, self.key, None)) != name:
            return f'says {self.key} = "{said}"; accepted: the name of its entry point, "{name}"'
        parameters = found.__dict__.get("__dataclass_params__")
        if parameters is None or not parameters.frozen:
            return "is no frozen dataclass; accepted: @dataclass(frozen=True, slots=True, kw_only=True)"
        return _field_fault(found)


@contextmanager
def blamed_on_its_package(settings: type) -> Iterator[None]:
    """What the code of another package's settings raises becomes an error that says whose it is.

    Raises:
        PluginError: In place of any other exception, where the settings are not bilin's own.
    """
    try:
        yield
    except Exception as error:
        package = package_of(settings)
        if package is None or isinstance(error, PluginError):
            raise
        fault = f"{settings.__qualname__} of {package} fails while its fields are checked ({_short(error)})"
        raise PluginError(f"{fault}; mend or uninstall it") from error


@functools.cache
def declared(group: str) -> tuple[Entry, ...]:
    """What installed packages declare in a group of entry points; imports none of it."""
    found = {
        Entry(point.name, point.value, f"{point.dist.name} {point.dist.version}")
        for point in _entry_points(group)
        if point.dist is not None
    }
    return tuple(sorted(found, key=lambda entry: (entry.name, entry.package)))


def _entry_points(group: str) -> Iterable[importlib.metadata.EntryPoint]:
    try:
        return importlib.metadata.entry_points(group=group)
    except Exception:  # the entry points of some package, of bilin or not, cannot be parsed: those of all others
        return [point for dist in importlib.metadata.distributions() for point in _points_of(dist, group)]


def _points_of(dist: importlib.metadata.Distribution, group: str) -> Iterable[importlib.metadata.EntryPoint]:
    try:
        return dist.entry_points.select(group=group)
    except Exception:
        return ()


def _short(error: BaseException) -> str:
    text = one_line(error)
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]} …"


def origin(settings: type) -> str:
    """The package that a class comes from: the first on the way to its module that is no namespace."""
    words = settings.__module__.split(".")
    paths = (".".join(words[:count]) for count in range(1, len(words)))
    return next((path for path in paths if getattr(sys.modules.get(path), "__file__", None)), settings.__module__)


def package_of(settings: type) -> str | None:
    """Name and version of the package that a class comes from; None for bilin's own."""
    home = origin(settings)
    if home == OWN:
        return None
    entries = (*declared(TASKS_GROUP), *declared(MODELS_GROUP))
    return next(
        (entry.package for entry in entries if f"{entry.place.partition(':')[0]}.".startswith(f"{home}.")), home
    )


def _field_fault(settings: type) -> str:
    try:
        fields = fields_of(settings)
    except Exception as error:  # an annotation may be any code
        return f"has a field that cannot be read ({type(error).__name__}: {error})"
    plain = [field.name for field in dataclasses.fields(settings) if field.name not in fields]
    if plain:
        return f"has a field {plain[0]!r} that is not declared; accepted: {plain[0]} = bilin.fields.option(…, doc=…)"
    if len({name.lower() for name in fields}) < len(fields):
        return "has fields whose names differ in case alone"
    for field in fields.values():
        try:
            _ = field.required or field.convert(field.default)
        except ValueError:
            return f"has {field.default!r} as the default of {field.name!r}; accepted: {field.accepted}"
    return ""
