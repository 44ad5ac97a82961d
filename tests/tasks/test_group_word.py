"""Words of groups against permutations composed in plain Python, and against products that others published."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from bilin.errors import GridError
from bilin.orchestrator.grid import parse_grid
from bilin.tasks.group_word import GroupWord

PUBLISHED = [
    ("A5", "58 55 49 51 23 58 3 9 39 59 36 54 45 3 37 27", "58 28 56 17 30 53 58 56 5 20 28 59 14 21 27 0"),
    ("A5", "9 42 19 17 42 10 55 59 38 51 16 8 41 14 34 57", "9 39 15 26 22 12 42 21 28 52 15 20 30 44 49 20"),
    ("A5", "58 29 52 35 3 34 36 33 34 15 7 17 1 53 34 34", "58 19 59 24 27 6 25 40 24 0 7 43 42 17 59 25"),
    ("A4xZ5", "9 8 49", "9 12 31"),
    ("A4xZ5", "47 18 15", "47 10 45"),
    ("S3xZ10", "4 42 9 40 2", "4 46 45 35 37"),
    ("S3xZ10", "48 19 21 42 55", "48 57 38 0 55"),
    ("Z60", "47 25 3 2 34", "47 12 15 17 51"),
]
"""Rows of data/A5=16.csv, A4_x_Z5=3.csv, S3_x_Z10=5.csv and Z60=5.csv of github.com/jopetty/word-problem (Merrill,
Petty, Sabharwal 2024), at commits 0fb17d1, 37626ea and ce2aa5b. Their numbers are ours, without a relabelling; so are
all 3600 products of each of these groups (A5=2.csv and so on there)."""


def parities(p: Any) -> Any:
    return sum(p[i] > p[j] for i in range(len(p)) for j in range(i)) % 2


def elements(factor: str) -> Any:
    """What the elements of Z, S or A are, in the order of their numbers."""
    family, n = factor[0], int(factor[1:])
    if family == "Z":
        return list(range(n))
    return [p for p in itertools.permutations(range(n)) if family == "S" or not parities(p)]


def compose(left: Any, right: Any, factor: str) -> Any:
    if factor[0] == "Z":
        return (left + right) % int(factor[1:])
    return tuple(left[right[i]] for i in range(len(right)))


def labels(task: Any, tokens: Any) -> Any:
    """The products of pairs of elements themselves, from left to right."""
    factors = task.group.split("x")
    numbered = list(itertools.product(*(elements(factor) for factor in factors)))
    product, found = numbered[0], []
    for token in tokens:
        product = tuple(compose(*pair) for pair in zip(product, numbered[token], factors, strict=True))
        found.append(numbered.index(product))
    return found


def test_the_examples_of_the_file() -> None:
    assert labels(GroupWord(group="Z3"), [1, 2, 2]) == [1, 0, 2]
    assert labels(GroupWord(group="S3"), [1, 2, 5]) == [1, 4, 2]


@pytest.mark.parametrize(("group", "tokens", "products"), PUBLISHED)
def test_the_products_are_those_that_others_published(group: str, tokens: Any, products: str) -> None:
    assert " ".join(map(str, labels(GroupWord(group=group), map(int, tokens.split())))) == products


@pytest.mark.parametrize(
    ("group", "size"), [("Z2", 2), ("Z1000", 1000), ("S2", 2), ("S6", 720), ("A3", 3), ("A6", 360), ("A5xZ2xS3", 720)]
)
def test_each_element_has_a_token_and_a_label(group: str, size: int) -> None:
    task = GroupWord(group=group)
    assert (task.vocab_size, task.num_classes, task.problems()) == (size, size, {})


@pytest.mark.parametrize(
    "group",
    [
        *("", "A", "5", "S0", "S1", "A2", "Z0", "Z1", "Z05", "Z-3", "Z1001", "S7", "S9", "S9999999999", "D4", "Q8"),
        *("A5x", "xA5", "A5xS4", "A5xZ1", "A5 ", "A5\n", "A5xx Z2", "A5.5"),
    ],
)
def test_an_unknown_group_is_a_fault(group: str) -> None:
    assert list(GroupWord(group=group).problems()) == ["group"]


@pytest.mark.parametrize(
    ("group", "meant"),
    [("a5", "A5"), ("A4_x_Z5", "A4xZ5"), ("A4 x Z5", "A4xZ5"), ("A4*z5", "A4xZ5"), ("A5XZ2", "A5xZ2")],
)
def test_another_spelling_of_a_group_is_corrected(group: str, meant: str) -> None:
    assert GroupWord(group=group).problems()["group"].endswith(f" (write {meant})")


def test_a_grid_says_where_and_what_is_accepted() -> None:
    with pytest.raises(GridError) as caught:
        parse_grid("name: n\ntasks: [{name: group_word, group: [A5, S9]}]\nmodels: [{tier: lstm}]\n")
    assert str(caught.value).splitlines()[-1].strip() == (
        "line 2: tasks[0].group[1]: found S9; accepted: Zn and Sn with n of at least 2, An with n of at least 3, and "
        "products of them with x, as in A4xZ5, of at most 1000 elements"
    )
