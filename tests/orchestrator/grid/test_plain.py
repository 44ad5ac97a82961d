"""Grids as dicts: they mean what the same YAML means, and their faults have paths instead of lines."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

import bilin
from bilin.errors import GridError
from bilin.orchestrator.grid import parse_grid, read_grid
from tests.orchestrator.grid.grids import HEAD

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


class Seed(enum.IntEnum):
    FIRST = 0


def short(**more: Any) -> dict[str, Any]:
    """The short grid as a dict, with more keys."""
    return {
        "name": "short",
        "tasks": [{"name": "modular_addition", "m": 2}],
        "models": [{"tier": "full"}],
        **more,
    }


def faults(grid: Mapping[Any, Any], **options: Any) -> list[str]:
    with pytest.raises(GridError) as caught:
        read_grid(grid, **options)
    return [str(fault) for fault in caught.value.faults]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_a_dict_means_what_its_yaml_means(path: Path) -> None:
    plain = YAML(typ="safe", pure=True).load(path)
    assert read_grid(plain) == read_grid(path)


def test_faults_are_those_of_the_yaml_without_lines() -> None:
    grid = short(
        models=[{"tier": "cp", "rank": 0}, {"tier": "fulll"}], train={"step": 3}, learning_rate={"choices": []}
    )
    text = HEAD.replace("[{tier: full}]", "[{tier: cp, rank: 0}, {tier: fulll}]")
    with pytest.raises(GridError) as caught:
        parse_grid(f"{text}train: {{step: 3}}\nlearning_rate: {{choices: []}}\n")
    found = faults(grid)
    assert sorted(found) == sorted(f"{fault.path}: {fault.message}" for fault in caught.value.faults)
    assert "models[0].rank: found 0; accepted: a whole number of at least 1" in found


def test_overrides_and_conditions_change_a_dict() -> None:
    grid = read_grid(short(seeds=[0, 1]), overrides=["train.steps=7", "tasks.m=[2, 3]"], only=["m=3"])
    (wanted,) = grid.cells
    assert (wanted.cell.train.steps, wanted.seeds) == (7, (0, 1))
    assert faults(short(), only=["m=5"]) != []


@pytest.mark.parametrize(
    "seeds",
    [range(3), (0, 1, 2), np.arange(3), torch.arange(3), [np.int64(0), 1, 2], [Seed.FIRST, 1, 2]],
)
def test_arrays_and_sequences_of_any_kind_are_lists(seeds: object) -> None:
    assert read_grid(MappingProxyType(short(seeds=seeds))) == read_grid(short(seeds=[0, 1, 2]))


def test_numbers_of_other_libraries_are_stored_as_python_s_own() -> None:
    grid = read_grid(short(learning_rate={"choices": np.logspace(-3, -2, 2)}))
    (wanted,) = grid.cells
    assert [type(lr) for lr in getattr(wanted.learning_rate, "choices")] == [float, float]  # noqa: B009


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"seeds": {0, 1}}, "seeds: found a value of type set; accepted: a number"),
        ({"train": {"steps": b"3"}}, "train.steps: found a value of type bytes"),
        ({"train": {3: 4}}, "train: found 3 as a key; accepted: a name"),
        ({"train": {"steps": 2**70}}, f"train.steps: found {2**70}; accepted: whole numbers from"),
        ({"train": {"steps": 10**5000}}, "train.steps: found a number of more than 30 digits"),
        ({"cluster": {"partition": "a\ud800"}}, r'cluster.partition: found "a\ud800"; accepted: text in UTF-8'),
        ({"train": {"steps": "3"}}, 'train.steps: found "3" (remove the quotes); accepted: a whole number'),
    ],
)
def test_what_cannot_be_in_a_grid_is_a_fault_with_its_path(more: dict[str, Any], message: str) -> None:
    assert message in "\n".join(faults(short(**more)))


def test_a_dict_that_contains_itself_is_a_fault() -> None:
    grid = short()
    grid["train"] = grid
    assert any("nested more than 20 levels deep" in fault for fault in faults(grid))


@pytest.mark.parametrize("grid", [{}, 3, [], None])
def test_what_is_no_grid_is_refused(grid: Any) -> None:
    with pytest.raises(GridError, match="accepted: "):
        read_grid(grid)


@pytest.mark.parametrize("use", [bilin.plan, bilin.LaunchRequest.read])
def test_plans_and_requests_take_dicts(use: Callable[..., Any], tmp_path: Path) -> None:
    assert use(short(), store=tmp_path).grid.name == "short"
