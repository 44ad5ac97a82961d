from __future__ import annotations

import time

import pytest

from bilin.orchestrator.grid.yaml import MappingNode, Node, UnreadableError, compose, from_plain, plain


def read(text: str) -> tuple[Node | None, list[str]]:
    reports: list[str] = []
    return compose(text, lambda line, message: reports.append(f"{line}: {message}")), reports


def unreadable(text: str) -> tuple[int | None, str]:
    with pytest.raises(UnreadableError) as caught:
        read(text)
    return caught.value.line, caught.value.message


def test_every_value_and_key_has_its_line() -> None:
    node, _ = read("# comment\na: 1\nb:\n  - x\n  - {c: 2}\n")
    assert isinstance(node, MappingNode)
    assert plain(node) == {"a": 1, "b": ["x", {"c": 2}]}
    assert [node.key_lines[key] for key in "ab"] == [2, 3]
    assert node.entries["b"].line == 4


def test_a_text_without_values_is_none() -> None:
    assert read("")[0] is None
    assert read("# only a comment\n")[0] is None


def test_quotes_make_a_text() -> None:
    assert plain(read("[\"1\", '2', 3]")[0] or from_plain(None)) == ["1", "2", 3]


def test_aliases_stand_for_their_anchor() -> None:
    node, reports = read("a: &x [1, 2]\nb: *x\n")
    assert node is not None
    assert plain(node) == {"a": [1, 2], "b": [1, 2]}
    assert not reports


def test_tags_duplicate_keys_and_other_keys_are_reported_together() -> None:
    _, reports = read("a: !!python/object:os.system x\nb: !x [1]\na: 2\n? [1]\n: 3\n4: 5\n")
    assert [report.split(":")[0] for report in reports] == ["1", "2", "3", "4", "6"]
    assert "stands here again, first on line 1" in reports[2]


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
        ("a: &b [*b]\n", 1, "inside of what it stands for"),
        ("a: 1\n<<: {b: 2}\n", 2, "merge key"),
        ('a: "\\U99999999"', None, "not YAML"),
    ],
)
def test_what_cannot_be_read_further_says_where_and_why(text: str, line: int | None, message: str) -> None:
    found_line, found = unreadable(text)
    assert found_line == line
    assert message in found


def test_aliases_that_explode_are_refused_at_once() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    start = time.perf_counter()
    assert "counting each use of an alias" in unreadable("\n".join(lines))[1]
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 5_000, "- " * 5_000, "? " * 5_000])
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    start = time.perf_counter()
    assert "levels deep" in unreadable(text)[1]
    assert time.perf_counter() - start < 10


def test_many_blank_lines_are_read_quickly() -> None:
    start = time.perf_counter()
    assert read("\n" * 100_000)[0] is None
    assert time.perf_counter() - start < 5
