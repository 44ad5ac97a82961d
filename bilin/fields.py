"""How the fields of a task, a tier or a part of a grid are declared, listed and checked.

A block of settings is a frozen dataclass of plain values. Each field is declared once, with
`option`, beside what it configures; from that one declaration come the check of a grid, its JSON
Schema, the columns of the results and the listing of tiers and tasks. Standard library only, so that
fields can be read without importing torch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Amounts:
    """Numbers by name, in the order of the names: what a mapping becomes, since settings are hashed."""

    pairs: tuple[tuple[str, float], ...] = ()

    @property
    def by_name(self) -> dict[str, float]:
        """The same as a mapping."""
        return dict(self.pairs)


Value = Scalar | tuple[Scalar, ...] | Amounts | None

_KEY = "bilin"


@dataclass(frozen=True, slots=True)
class Form:
    """What a text must look like; for `Amounts`, each of the names.

    Where digits alone do, a whole number is taken for them, as YAML writes ``nodes: 2``.

    Attributes:
        pattern: A regular expression that the whole text matches; one that Python and JSON Schema read alike.
        words: What it means, for messages; ``plural`` where a list has such texts.
    """

    pattern: str
    words: str
    plural: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a value must satisfy beside having the field's type; for a list, each of its items."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    choices: tuple[Scalar, ...] = ()
    form: Form | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One declared field.

    Attributes:
        name: As in grid.yaml and in the results.
        type: ``bool``, ``int``, ``float`` or ``str``; for a list the type of its items, for a mapping of its numbers.
        is_list: Whether the value is itself a list, such as ``lengths``; such a field is no axis.
        is_mapping: Whether the value is `Amounts`; only blocks without axes have such fields.
        length: How many items the list must have; None for any number.
        optional: Whether null is accepted.
        default: `dataclasses.MISSING` where the field must be given.
        limits: What a value must satisfy beside its type.
        doc: One line, for listings and editors.
        before: The value that describes what was done before this field existed; `MISSING` for a
            field of the first version. A field at that value is left out of the identity of a trial,
            so that results from before it stay found.
    """

    name: str
    type: type
    is_list: bool
    is_mapping: bool
    length: int | None
    optional: bool
    default: Any
    limits: Limits
    doc: str
    before: Any

    @property
    def required(self) -> bool:
        """Whether the field has no default."""
        return self.default is MISSING

    @property
    def accepted(self) -> str:
        """What values are accepted, in words."""
        if self.is_mapping:
            form = self.limits.form
            return f"a mapping of {form.plural if form else 'names'} to {_accepted_items(self.amount)}"
        if self.is_list:
            count = "a list of" if self.length is None else f"a list of {self.length}"
            return f"{count} {_accepted_items(self)}"
        return _accepted_items(self, plural=False) + (" or null" if self.optional else "")

    @property
    def amount(self) -> Field:
        """One number of a mapping, as a field."""
        return dataclasses.replace(self, is_mapping=False, limits=dataclasses.replace(self.limits, form=None))

    def is_name(self, text: object) -> bool:
        """Whether a mapping may have a text as a name."""
        return isinstance(text, str) and _within(text, self.limits)

    def convert(self, value: object) -> Value:
        """The value in the field's type.

        Raises:
            ValueError: The value is not accepted; the message says what is.
        """
        if value is None and self.optional:
            return None
        if self.is_mapping:
            return self._convert_mapping(value)
        if not self.is_list:
            return self._convert_item(value)
        if not isinstance(value, list | tuple) or (self.length is not None and len(value) != self.length):
            raise ValueError(self.accepted)
        return tuple(self._convert_item(item) for item in value)

    def _convert_mapping(self, value: object) -> Amounts:
        amounts = value.by_name if isinstance(value, Amounts) else value
        if not isinstance(amounts, Mapping) or not all(map(self.is_name, amounts)):
            raise ValueError(self.accepted)
        try:
            numbers = {name: typing.cast(float, self.amount.convert(number)) for name, number in amounts.items()}
        except ValueError:
            raise ValueError(self.accepted) from None
        return Amounts(tuple(sorted(numbers.items())))

    def _convert_item(self, value: object) -> Scalar:
        if self.type is float and isinstance(value, int | float) and not isinstance(value, bool):
            value = float(value) + 0.0  # a negative zero equals zero, and must not make another trial
        if self.limits.form and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if type(value) is not self.type or not _within(value, self.limits):
            raise ValueError(self.accepted)
        return typing.cast(Scalar, value)


def option(
    default: Any = MISSING,
    *,
    doc: str,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    choices: tuple[Scalar, ...] = (),
    form: Form | None = None,
    length: int | None = None,
    before: Any = MISSING,
) -> Any:
    """Declare a field of a frozen dataclass.

    Args:
        default: Its default; none means that a grid must give it.
        doc: One line that says what it is.
        at_least: Smallest accepted value.
        above: Accepted values are greater than this.
        at_most: Greatest accepted value.
        choices: The accepted values, where they can be listed.
        form: What a text must look like.
        length: Number of items, for a list of fixed length.
        before: See `Field.before`; for fields that are added after results exist.
    """
    limits = Limits(at_least=at_least, above=above, at_most=at_most, choices=choices, form=form)
    metadata = {_KEY: {"limits": limits, "doc": doc, "length": length, "before": before}}
    return dataclasses.field(default=default, metadata=metadata)


def fields_of(block: type) -> Mapping[str, Field]:
    """The declared fields of a settings class by name, in their order."""
    return _fields_of(block)


@functools.cache
def _fields_of(block: type) -> Mapping[str, Field]:
    hints = typing.get_type_hints(block)
    return {f.name: _describe(f, hints[f.name]) for f in dataclasses.fields(block) if _KEY in f.metadata}


def values_of(block: Any) -> dict[str, Value]:
    """The values of a settings object by field name."""
    return {name: getattr(block, name) for name in fields_of(type(block))}


def plain_value(value: Value) -> object:
    """A value as YAML and JSON have it."""
    if isinstance(value, Amounts):
        return value.by_name
    return list(value) if isinstance(value, tuple) else value


def _describe(declared: dataclasses.Field[Any], hint: Any) -> Field:
    optional = False
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        optional = len(members) < len(typing.get_args(hint))
        (hint,) = members
    is_list, is_mapping = typing.get_origin(hint) is tuple, hint is Amounts
    item = typing.get_args(hint)[0] if is_list else float if is_mapping else hint
    if item not in (bool, int, float, str):
        raise TypeError(
            f"field {declared.name!r} has type {hint!r}: bool, int, float, str or a tuple of one of them, or Amounts"
        )
    return Field(
        name=declared.name,
        type=item,
        is_list=is_list,
        is_mapping=is_mapping,
        optional=optional,
        default=declared.default,
        **declared.metadata[_KEY],
    )


def _within(value: object, limits: Limits) -> bool:
    if limits.choices and value not in limits.choices:
        return False
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if isinstance(value, str) and limits.form:
        return re.fullmatch(limits.form.pattern, value) is not None
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        return True
    return (
        (limits.at_least is None or value >= limits.at_least)
        and (limits.above is None or value > limits.above)
        and (limits.at_most is None or value <= limits.at_most)
    )


def _accepted_items(field: Field, *, plural: bool = True) -> str:
    limits = field.limits
    if limits.choices:
        return ("any of " if plural else "one of ") + ", ".join(str(choice) for choice in limits.choices)
    if limits.form:
        return limits.form.plural if plural else limits.form.words
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    name = names[field.type]
    if field.type in (int, float):
        name = f"{name}s" if plural else f"a {name}"
    if limits.at_least is not None:
        name += f" of at least {limits.at_least:g}"
    if limits.above is not None:
        name += f" above {limits.above:g}"
    if limits.at_most is not None:
        bounded = limits.at_least is not None or limits.above is not None
        name += f" {'and' if bounded else 'of'} at most {limits.at_most:g}"
    return name
