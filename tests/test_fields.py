from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest

from bilin.fields import Amounts, Field, Form, fields_of, option, plain_value, values_of


@dataclass(frozen=True, kw_only=True)
class Block:
    count: int = option(3, at_least=1, doc="how many")
    share: float = option(0.5, above=0, doc="how much")
    part: float = option(0.5, above=0, at_most=1, doc="of a whole")
    clip: float | None = option(None, above=0, doc="at most")
    kind: str = option("a", choices=("a", "b"), doc="which")
    flag: bool = option(False, doc="whether")
    lengths: tuple[int, ...] = option((2, 10), at_least=1, length=2, doc="from, to")
    shares: Amounts = option(Amounts(), form=Form("[a-z]+", "a word", "words"), above=0, doc="by name")
    needed: int = option(doc="no default")


def field(name: str) -> Field:
    return fields_of(Block)[name]


@pytest.mark.parametrize(
    ("name", "value", "converted"),
    [
        ("count", 7, 7),
        ("share", 2, 2.0),
        ("part", 1, 1.0),
        ("clip", None, None),
        ("kind", "b", "b"),
        ("flag", True, True),
        ("lengths", [3, 4], (3, 4)),
        ("shares", {"b": 2, "a": 0.5}, Amounts((("a", 0.5), ("b", 2.0)))),
        ("shares", Amounts((("a", 1.0),)), Amounts((("a", 1.0),))),
    ],
)
def test_accepted_values_are_converted(name: str, value: object, converted: object) -> None:
    assert field(name).convert(value) == converted
    assert type(field(name).convert(value)) is type(converted)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 0),
        ("count", 1.0),
        ("count", True),
        ("count", "3"),
        ("count", None),
        ("share", 0.0),
        ("share", float("nan")),
        ("share", float("inf")),
        ("share", True),
        ("part", 0.0),
        ("part", 1.5),
        ("clip", -1.0),
        ("kind", "c"),
        ("flag", 1),
        ("lengths", [1]),
        ("lengths", [0, 2]),
        ("lengths", 3),
    ],
)
def test_other_values_are_refused_with_what_is_accepted(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(field(name).accepted)}$"):
        field(name).convert(value)


@pytest.mark.parametrize(
    ("limits", "accepted"),
    [
        ({"above": 0, "at_most": 1}, "a number above 0 and at most 1"),
        ({"at_least": 0, "at_most": 0.5}, "a number of at least 0 and at most 0.5"),
        ({"at_most": 1}, "a number of at most 1"),
        ({"above": 0}, "a number above 0"),
    ],
)
def test_what_is_accepted_names_both_ends(limits: dict[str, Any], accepted: str) -> None:
    @dataclass(frozen=True)
    class Bounded:
        share: float = option(0.5, doc="how much", **limits)

    assert fields_of(Bounded)["share"].accepted == accepted


def test_a_field_without_a_default_is_required() -> None:
    assert [name for name, declared in fields_of(Block).items() if declared.required] == ["needed"]


def test_values_come_by_name_in_the_declared_order() -> None:
    assert list(values_of(Block(needed=1))) == list(fields_of(Block))


def test_a_type_that_is_no_plain_value_is_refused_where_it_is_declared() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Bad:
        table: dict[str, int] = option(doc="no")

    with pytest.raises(TypeError, match="table"):
        fields_of(Bad)


def test_a_mapping_says_what_it_holds_and_is_plain_where_it_is_written() -> None:
    assert field("shares").accepted == "a mapping of words to numbers above 0"
    assert plain_value(field("shares").convert({"b": 2, "a": 1})) == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize("value", [{"a": 0}, {"A": 1}, {1: 1}, {"a": "b"}, ["a"], 3, None])
def test_a_mapping_with_other_names_or_numbers_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="a mapping of words to numbers above 0"):
        field("shares").convert(value)
