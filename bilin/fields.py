"""Declaration of the fields of a task, a tier or a block of a grid.

A block of settings is a frozen dataclass of plain values. Each field is declared once, with `option`, beside what it
configures. The check of a grid, its JSON Schema, the columns of the results and the listing of tiers and tasks all
come from that declaration. Standard library only, so that fields can be read without importing torch.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from typing import Any

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Amounts:
    """Numbers by name, sorted by name: a mapping that can be hashed."""

    pairs: tuple[tuple[str, float], ...] = ()

    @property
    def by_name(self) -> dict[str, float]:
        """The same as a mapping."""
        return dict(self.pairs)


Value = Scalar | tuple[Scalar, ...] | Amounts | None

_KEY = "bilin"
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class Form:
    """What a text must look like; for `Amounts`, each of the names.

    A whole number is accepted as a text of its digits, since YAML writes ``nodes: 2``.

    Attributes:
        pattern: A regular expression that the whole text matches; one that Python and JSON Schema read alike.
        accepted: What it must look like, for messages; ``plural`` is for lists of such texts.
    """

    pattern: str
    accepted: str
    plural: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One declared field.

    Attributes:
        name: Its name in grid.yaml and in the results.
        type: ``bool``, ``int``, ``float`` or ``str``; for a list the type of its items, for a mapping of its numbers.
        is_list: Whether the value is itself a list, such as ``lengths``. Such a field cannot be an axis.
        is_mapping: Whether the value is `Amounts`. Only blocks without axes have such fields.
        optional: Whether null is accepted.
        default: `dataclasses.MISSING` for a field that must be given.
        doc: One line, for listings and editors.
        at_least: Smallest accepted value; for a list or a mapping, of each item. So are the limits below.
        above: Accepted values are greater than this.
        at_most: Greatest accepted value.
        choices: The accepted values, if they can be listed.
        form: What a text must look like.
        length: How many items the list must have; None for any number.
        before: The value that describes what was done before this field existed; `MISSING` for a field of the first
            version. A field at that value is left out of the identity of a trial, so that older results stay found.
    """

    name: str
    type: type
    is_list: bool = False
    is_mapping: bool = False
    optional: bool = False
    default: Any = MISSING
    doc: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    choices: tuple[Scalar, ...] = ()
    form: Form | None = None
    length: int | None = None
    before: Any = MISSING

    @property
    def required(self) -> bool:
        """Whether the field has no default."""
        return self.default is MISSING

    @property
    def item(self) -> Field:
        """One item of a list, or one number of a mapping, as a field."""
        form = None if self.is_mapping else self.form
        return dataclasses.replace(self, is_list=False, is_mapping=False, optional=False, length=None, form=form)

    @property
    def accepted(self) -> str:
        """The accepted values, for messages."""
        if self.is_mapping:
            return f"a mapping of {self.form.plural if self.form else 'names'} to {self.item._accepted(plural=True)}"
        if self.is_list:
            return f"a list of {'' if self.length is None else f'{self.length} '}{self._accepted(plural=True)}"
        return self._accepted(plural=False) + (", or null" if self.optional else "")

    def matches(self, text: object) -> bool:
        """Whether a text has the form of the field; for a mapping, whether it can be a name."""
        return isinstance(text, str) and (not self.form or re.fullmatch(self.form.pattern, text) is not None)

    def convert(self, value: object) -> Value:
        """Return the value in the field's type.

        Raises:
            ValueError: The value is not accepted; the message says what is.
        """
        if value is None and self.optional:
            return None
        if self.is_list and isinstance(value, list | tuple) and self.length in (None, len(value)):
            return tuple(self._convert_item(item) for item in value)
        if self.is_mapping:
            amounts = value.by_name if isinstance(value, Amounts) else value
            if isinstance(amounts, Mapping) and all(map(self.matches, amounts)):
                return Amounts(tuple(sorted((name, self._convert_item(amount)) for name, amount in amounts.items())))
        if self.is_list or self.is_mapping:
            raise ValueError(self.accepted)
        item: Scalar = self._convert_item(value)
        return item

    def _convert_item(self, value: object) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.type is float:
                value = float(value) + 0.0  # a negative zero equals zero, and must not make another trial
            elif self.form and isinstance(value, int):
                value = str(value)
        if type(value) is not self.type or not self._allows(value):
            raise ValueError(self.accepted)
        return value

    def _allows(self, value: Any) -> bool:
        if self.choices and value not in self.choices:
            return False
        if isinstance(value, str):
            return self.matches(value)
        return isinstance(value, bool) or (
            -math.inf < value < math.inf
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
        )

    def _accepted(self, *, plural: bool) -> str:
        if self.choices:
            return f"{'any' if plural else 'one'} of {', '.join(map(str, self.choices))}"
        if self.form:
            return self.form.plural if plural else self.form.accepted
        text = {bool: "true or false", int: "whole number", float: "number", str: "text"}[self.type]
        if self.type in (int, float):
            text = f"{text}s" if plural else f"a {text}"
        if self.at_least is not None:
            text += f" of at least {self.at_least:g}"
        if self.above is not None:
            text += f" above {self.above:g}"
        if self.at_most is not None:
            text += f" {'of' if self.at_least is None and self.above is None else 'and'} at most {self.at_most:g}"
        return text


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

    The arguments are those of `Field`. Without a default, a grid must give the field. A field that is added after
    results exist needs ``before``.
    """
    limits = {"at_least": at_least, "above": above, "at_most": at_most, "choices": choices, "form": form}
    declared = {"doc": doc, **limits, "length": length, "before": before}
    return dataclasses.field(default=default, metadata={_KEY: declared})


def fields_of(block: type) -> Mapping[str, Field]:
    """Return the declared fields of a settings class by name, in the order of their declaration."""
    return _fields_of(block)


@functools.cache  # a cached function loses its signature, so it is behind another
def _fields_of(block: type) -> Mapping[str, Field]:
    hints = typing.get_type_hints(block)
    return {f.name: _field(f, hints[f.name]) for f in dataclasses.fields(block) if _KEY in f.metadata}


def _field(declared: dataclasses.Field[Any], hint: Any) -> Field:
    optional = False
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
        optional = len(members) < len(typing.get_args(hint))
        (hint,) = members
    is_list, is_mapping = typing.get_origin(hint) is tuple, hint is Amounts
    item = typing.get_args(hint)[0] if is_list else float if is_mapping else hint
    if item not in (bool, int, float, str):
        accepted = "bool, int, float, str, a tuple of one of them, or Amounts"
        raise TypeError(f"field {declared.name!r} has type {hint!r}; accepted: {accepted}")
    return Field(
        name=declared.name,
        type=item,
        is_list=is_list,
        is_mapping=is_mapping,
        optional=optional,
        default=declared.default,
        **declared.metadata[_KEY],
    )


def values_of(block: Any) -> dict[str, Value]:
    """Return the values of a settings object by field name."""
    return {name: getattr(block, name) for name in fields_of(type(block))}


def plain_value(value: Value) -> object:
    """Return a value as YAML and JSON have it."""
    if isinstance(value, Amounts):
        return value.by_name
    return list(value) if isinstance(value, tuple) else value


def format_value(value: Value) -> str:
    """Return a value as it is written in a grid."""
    match value:
        case Amounts():
            return f"{{{', '.join(f'{name}: {amount:g}' for name, amount in value.pairs)}}}"
        case tuple():
            return f"[{', '.join(map(format_value, value))}]"
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case str() if not value.isprintable() or not 0 < len(value) <= _LONGEST:
            return f"{json.dumps(value[:_LONGEST])} …"
    return str(value)


def list_problems(name: str, items: Sequence[Scalar], what: str, *, may_be_empty: bool = False) -> dict[str, str]:
    """Return what is accepted in place of a list that is empty or repeats an item, under the name of its field."""
    if not items and not may_be_empty:
        return {name: f"at least one {what}"}
    repeated = [format_value(item) for item, count in Counter(items).items() if count > 1]
    return {name: f"each {what} once ({', '.join(repeated)} is repeated)"} if repeated else {}
