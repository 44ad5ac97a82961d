"""Whatever a grid holds, it is read, or refused with its faults."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bilin.errors import GridError
from bilin.orchestrator.grid import Grid, grid_schema, parse_grid, read_grid, resolved, restore_grid
from tests.examples import examples
from tests.orchestrator.grid.test_resolved import RICH
from tests.orchestrator.grid.test_schema import VALIDATOR

MANY = examples(100)
MARKS = st.sampled_from(
    [*"[]{}:,-?!&*|>'\"%@`#\n\t~\\", "<<: ", "&a ", "*a", "!!int ", "---\n", "\\U99999999", ".nan", "1e999"]
)


def check_faults(error: GridError, text: str) -> None:
    assert error.faults
    assert error.exit_code == 2
    assert all(fault.message for fault in error.faults)
    lines = [fault.line for fault in error.faults if fault.line is not None]
    assert not text or all(1 <= line <= len(text.splitlines()) + 1 for line in lines)


def read_or_refuse(read: Callable[[], Grid], text: str = "") -> Grid | None:
    """The grid, if it is read: it has cells, each once, and can be restored. If not, every fault says what is wrong."""
    try:
        grid = read()
    except GridError as error:
        check_faults(error, text)
        return None
    restored = restore_grid(resolved(grid))
    assert restored.counts == grid.counts
    assert set(grid.cells) <= set(restored.cells)
    assert len({wanted.cell_id for wanted in grid.cells}) == len(grid.cells) > 0
    return grid


@MANY
@given(data=st.binary(max_size=300))
def test_any_bytes(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(data)
    read_or_refuse(lambda: read_grid(path))


@MANY
@given(text=st.lists(st.one_of(MARKS, st.text(max_size=3)), max_size=40).map("".join))
def test_any_text_of_yamls_own_marks(text: str) -> None:
    read_or_refuse(lambda: parse_grid(text), text)


@MANY
@given(data=st.data())
def test_a_grid_with_a_part_replaced(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(RICH)))
    end = data.draw(st.integers(start, min(len(RICH), start + 12)))
    put = data.draw(st.one_of(MARKS, st.text(max_size=4), st.integers().map(str), st.floats().map(str)))
    text = RICH[:start] + put + RICH[end:]
    read_or_refuse(lambda: parse_grid(text), text)


KEYS = st.sampled_from([*grid_schema()["properties"], "tier", "m", "hidden", "steps", "lengths"])
SOUND = {"name": "x", "tasks": [{"name": "modular_addition", "m": 2}], "models": [{"tier": "full"}]}
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 300), st.floats(), st.sampled_from(["full", "cp", "m", "hidden"])
)
TREES = st.recursive(LEAVES, lambda sub: st.one_of(st.lists(sub, max_size=4), st.dictionaries(KEYS, sub, max_size=5)))


@MANY
@given(tree=st.dictionaries(KEYS, TREES), rest=st.sampled_from([{}, SOUND]))
def test_any_values_under_any_keys_are_read_only_if_the_schema_accepts_them(
    tree: dict[str, Any], rest: dict[str, Any]
) -> None:
    tree = {**rest, **tree}
    text = json.dumps(tree)
    if read_or_refuse(lambda: restore_grid(text)) or read_or_refuse(lambda: parse_grid(text)):
        assert VALIDATOR.is_valid(tree)


@MANY
@given(
    text=st.one_of(
        st.text(max_size=30), st.builds("{}={}".format, st.sampled_from(["train.steps", "models", "m", "tier"]), TREES)
    )
)
def test_any_override_and_any_condition(text: str) -> None:
    read_or_refuse(lambda: parse_grid(RICH, overrides=[text]))
    read_or_refuse(lambda: parse_grid(RICH, only=[text]))


@MANY
@given(
    moduli=st.lists(st.integers(2, 9), min_size=1, max_size=4, unique=True),
    hidden=st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True),
    rates=st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=4, unique=True),
)
def test_a_grid_that_is_read_has_the_product_of_its_axes_and_restores(
    moduli: list[int], hidden: list[int], rates: list[float]
) -> None:
    tasks, models = f"[{{name: modular_addition, m: {moduli}}}]", f"[{{tier: full, hidden: {hidden}}}]"
    grid = parse_grid(f"name: x\ntasks: {tasks}\nmodels: {models}\nlearning_rate: {{choices: {rates}}}")
    assert len(grid.cells) == len(moduli) * len(hidden)
    assert len({wanted.cell_id for wanted in grid.cells}) == len(grid.cells)
    assert restore_grid(resolved(grid)) == grid
