from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from bilin.errors import Fault, GridError
from bilin.orchestrator.grid import read_grid
from bilin.orchestrator.grid.node import YamlNode
from bilin.orchestrator.grid.yaml import parse_yaml, resolve
from tests.orchestrator.grid.grids import HEAD


def read(text: str) -> YamlNode:
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
    assert node.to_plain() == {"a": 1, "b": ["x", {"c": 2}]}
    assert [node.key_lines[key] for key in "ab"] == [2, 3]
    assert node.entries["b"].line == 4


def test_an_empty_value_has_the_line_of_its_key() -> None:
    node = read("a:\n\n# comment\nb: {c: , d: 1}\ne:\n")
    assert [child.line for child in (node.key("a"), node.key("b").key("c"), node.key("e"))] == [1, 4, 5]


def test_a_text_without_values_has_no_node_and_no_fault() -> None:
    assert parse_yaml("") == (None, [])
    assert parse_yaml("# only a comment\n") == (None, [])


def test_quotes_make_a_text() -> None:
    assert read("[\"1\", '2', 3]").to_plain() == ["1", "2", 3]


def test_aliases_stand_for_their_anchor() -> None:
    assert read("a: &x [1, 2]\nb: *x\n").to_plain() == {"a": [1, 2], "b": [1, 2]}


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


def test_aliases_that_explode_are_refused() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    assert "each use of an alias counted" in fault("\n".join(lines)).message


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 5_000, "- " * 5_000, "? " * 5_000])
def test_deep_nesting_is_refused(text: str) -> None:
    assert "levels deep" in fault(text).message


def test_many_blank_lines_are_an_empty_text() -> None:
    assert parse_yaml("\n" * 100_000) == (None, [])


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


def file_fault(path: Path | str) -> str:
    with pytest.raises(GridError) as caught:
        read_grid(path)
    assert caught.value.exit_code == 2
    assert caught.value.source == os.fspath(path)
    (found,) = caught.value.faults
    return str(found)


def test_a_grid_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode())
    assert len(read_grid(path).cells) == 1


def test_a_missing_file_names_those_beside_it(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(HEAD)
    assert file_fault(tmp_path / "gird.yaml") == "there is no such file; in the same folder: grid.yaml"
    assert file_fault(tmp_path / "no" / "grid.yaml") == "there is no such file"


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "is a directory" in file_fault(tmp_path)


def test_a_path_that_is_none_is_refused() -> None:
    assert "is not a path" in file_fault("a\0b")


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "grid.yaml")
    assert "not a regular file" in file_fault(tmp_path / "grid.yaml")


def test_a_large_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "grid.yaml").open("wb") as file:
        file.truncate(100_000_000)
    assert file_fault(tmp_path / "grid.yaml") == "has 100,000,000 bytes; a grid has at most 1,000,000"


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_bytes(b"name: x\n\xff\xfe\n")
    assert file_fault(tmp_path / "grid.yaml") == "line 2: found the byte 0xff; a grid is text in UTF-8"


def test_an_empty_file_says_what_a_grid_is(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").touch()
    assert file_fault(tmp_path / "grid.yaml") == "is empty; accepted: a mapping with name, tasks and models"
