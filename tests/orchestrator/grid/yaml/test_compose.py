from __future__ import annotations

import time

import pytest

from bilin.errors import Fault
from bilin.orchestrator.grid.yaml import Node, parse_yaml


def read(text: str) -> Node:
    node, found = parse_yaml(text)
    assert node
    assert not found
    return node


def fault(text: str) -> Fault:
    node, (found,) = parse_yaml(text)
    assert node is None
    return found


def test_every_value_and_key_has_its_line() -> None:
    node = read("# comment\na: 1\nb:\n  - x\n  - {c: 2}\n")
    assert node.plain() == {"a": 1, "b": ["x", {"c": 2}]}
    assert [node.key_lines[key] for key in "ab"] == [2, 3]
    assert node.entries["b"].line == 4


def test_a_text_without_values_has_no_node_and_no_fault() -> None:
    assert parse_yaml("") == (None, [])
    assert parse_yaml("# only a comment\n") == (None, [])


def test_quotes_make_a_text() -> None:
    assert read("[\"1\", '2', 3]").plain() == ["1", "2", 3]


def test_aliases_stand_for_their_anchor() -> None:
    assert read("a: &x [1, 2]\nb: *x\n").plain() == {"a": [1, 2], "b": [1, 2]}


def test_tags_duplicate_keys_and_other_keys_are_reported_together() -> None:
    _, found = parse_yaml("a: !!python/object:os.system x\nb: !x [1]\na: 2\n? [1]\n: 3\n4: 5\n")
    assert [each.line for each in found] == [1, 2, 3, 4, 6]
    assert found[2].message == 'duplicate key "a", first on line 1'


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\n\tb: 2", 2, "a tab in the indentation"),
        ("a: {b: 1\n", 1, "never closed"),
        ("a: 'b\n", 1, "never closed"),
        ("a: 1\n b: 2\n", 2, "indentation"),
        ("a: @b", 1, "quote it"),
        ("a: b\x00c", 1, "U+0000"),
        ("# c\n%YAML 1.1\n---\na: 1", 2, "directive"),
        ("a: 1\n---\nb: 2\n", 2, "under grids:"),
        ("a: *b\n", 1, "no anchor &b"),
        ("a: &b [*b]\n", 1, "inside the value of its own anchor"),
        ("a: 1\n<<: {b: 2}\n", 2, "merge key"),
        ('a: "\\U99999999"', None, "not YAML"),
    ],
)
def test_what_cannot_be_read_further_says_where_and_why(text: str, line: int | None, message: str) -> None:
    found = fault(text)
    assert found.line == line
    assert message in found.message


def test_aliases_that_explode_are_refused_at_once() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    start = time.perf_counter()
    assert "each use of an alias counted" in fault("\n".join(lines)).message
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 5_000, "- " * 5_000, "? " * 5_000])
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    start = time.perf_counter()
    assert "levels deep" in fault(text).message
    assert time.perf_counter() - start < 10


def test_many_blank_lines_are_read_quickly() -> None:
    start = time.perf_counter()
    assert parse_yaml("\n" * 100_000) == (None, [])
    assert time.perf_counter() - start < 5
