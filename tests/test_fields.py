from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from bilin.fields import Field, fields_of, option, values_of


@dataclass(frozen=True, kw_only=True)
class Block:
    count: int = option(3, at_least=1, doc="how many")
    share: float = option(0.5, above=0, doc="how much")
    part: float = option(0.5, above=0, at_most=1, doc="of a whole")
    clip: float | None = option(None, above=0, doc="at most")
    kind: str = option("a", choices=("a", "b"), doc="which")
    flag: bool = option(False, doc="whether")
    lengths: tuple[int, ...] = option((2, 10), at_least=1, length=2, doc="from, to")
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
def test_what_is_accepted_names_both_ends(limits: dict[str, float], accepted: str) -> None:
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
        table: dict[str, int] = option(doc="no")  # noqa: RUF009 (what is under test)

    with pytest.raises(TypeError, match="table"):
        fields_of(Bad)
