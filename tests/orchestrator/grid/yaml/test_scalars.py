from __future__ import annotations

import math

import pytest

from bilin.orchestrator.grid.yaml import resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.inf", -math.inf),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("+3", 3),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_a_plain_scalar_means_what_yaml_1_2_says(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize(
    "text", ["yes", "on", "No", "1_000", "0b11", "1:30", "2026-01-01", "=", "nan", "e3", "1e", "."]
)
def test_what_only_yaml_1_1_knows_is_text(text: str) -> None:
    assert resolve(text) == text


def test_nan_is_a_number() -> None:
    value = resolve(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


@pytest.mark.parametrize("text", ["9223372036854775808", "9" * 10_000, "0x" + "f" * 20])
def test_a_number_that_no_column_holds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whole numbers from"):
        resolve(text)
