from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.orchestrator.grid import grid_schema, parse_grid, resolved
from bilin.orchestrator.grid.yaml import parse_yaml
from tests.orchestrator.grid.grids import HEAD, faults

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))
VALIDATOR: Any = Draft202012Validator(grid_schema())

GOOD = [
    "",
    "learning_rate: {log_uniform: [1e-5, 1e-2], trials: 3}",
    "learning_rate: {choices: [1e-3], until_solved: true}",
    "train: {clip_norm: [null, 1], steps: 3, stop_when_solved: false}\nvalidate: {lengths: []}",
    "learning_rate: {log_uniform: [1, 2], trials: 3}\ntrain: {weight_decay: {uniform: [0, 1]}}",
    "learning_rate: {log_uniform: [1, 2], trials: 3}\ntrain: {clip_norm: {log_uniform: [0.5, 1]}}",
    "zip: [[hidden, embedding]]",
    "grids: [{}, {train: {steps: 3}, seeds: [4]}]",
    "resources: {gpus: 0.5, device: cuda}",
    "cluster: {nodes: 2, time: 90, gpus: 0, memory: 16G, extra: [--exclusive], partition: null}",
    "cluster: {nodes: 1-8, time: 1-12:00, gpus: a100:4, cpus: 8, setup: [module load cuda]}",
]

BAD = [
    "train: {steps: 0}",
    "train: {steps: [1, 0]}",
    "train: {steps: []}",
    "train: {steps: 1.5}",
    "train: {steps: '5'}",
    "train: {step: 5}",
    "train: {lengths: [1, 2, 3]}",
    "train: {clip_norm: 0}",
    "train: {steps: {uniform: [1, 9]}}",
    "train: {schedule: {uniform: [1, 9]}}",
    "train: {clip_norm: {uniform: [0, 9]}}",
    "train: {clip_norm: {uniform: [1, 2, 3]}}",
    "train: {clip_norm: {normal: [1, 2]}}",
    "train: {clip_norm: [{uniform: [1, 2]}]}",
    "validate: {every: {uniform: [1, 9]}}",
    "train: {schedule: cosin}",
    "train: {stop_when_solved: yes}",
    "validate: {every: [1, 2]}",
    "test: {lengths: []}",
    "test: {lengths: [10, 10]}",
    "learning_rate: {choices: []}",
    "learning_rate: {choices: [0]}",
    "learning_rate: {choices: [1e-3, 0.001]}",
    "learning_rate: {choices: [1e-3], trials: 3}",
    "learning_rate: {choices: [1e-3], log_uniform: [1, 2], trials: 3}",
    "learning_rate: {log_uniform: [1, 2]}",
    "seeds: []",
    "seeds: [-1]",
    "seeds: 3",
    "resources: {device: gpu}",
    "cluster: {nodes: 1-}",
    "cluster: {nodes: 1.5}",
    "cluster: {time: 1h}",
    "cluster: {partition: 'a b'}",
    "cluster: {setup: [a, a]}",
    "cluster: {nodse: 3}",
    "grids: [{cluster: {}}]",
    "zip: [[hidden]]",
    "zip: [[hidden, hiden]]",
    "exclude: [{rnk: 3}]",
    "exclude: [{}]",
    "exclude: [{tier: fll}]",
    "grids: []",
    "grids: [{name: y}]",
    "grids: [{models: [{tier: real_diagonal, rank: 3}]}]",
    "modles: []",
]

BAD_ENTRIES = [
    "{tier: ful}",
    "{}",
    "full",
    "{tier: cp}",
    "{tier: full, rank: 3}",
    "{tier: cp, rank: [0]}",
    "{tier: [cp]}",
    "{tier: fixed_point, damping: [0.5, 1.5]}",
]


def value(text: str) -> object:
    node, found = parse_yaml(text)
    assert not found
    return node.to_plain() if node else None


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(grid_schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_accepted_as_written_and_as_resolved(path: Path) -> None:
    text = path.read_text()
    assert not list(VALIDATOR.iter_errors(value(text)))
    assert not list(VALIDATOR.iter_errors(json.loads(resolved(parse_grid(text)))))


@pytest.mark.parametrize("more", GOOD)
def test_what_the_reader_accepts_the_schema_accepts(more: str) -> None:
    assert not faults(HEAD + more)
    assert VALIDATOR.is_valid(value(HEAD + more))


@pytest.mark.parametrize(
    "text", [*(HEAD + more for more in BAD), *(HEAD.replace("{tier: full}", e) for e in BAD_ENTRIES)]
)
def test_what_the_schema_refuses_the_reader_refuses(text: str) -> None:
    assert not VALIDATOR.is_valid(value(text))
    assert faults(text)


@pytest.mark.parametrize("missing", ["name", "tasks", "models"])
def test_what_is_required_is_required(missing: str) -> None:
    text = "\n".join(line for line in HEAD.splitlines() if not line.startswith(missing))
    for grids in ("", "\ngrids: [{}]"):
        assert not VALIDATOR.is_valid(value(text + grids))
        assert faults(text + grids)


def test_an_editor_is_told_of_every_field_of_every_tier() -> None:
    branches = grid_schema()["properties"]["models"]["items"]["allOf"]
    assert [branch["if"]["properties"]["tier"]["const"] for branch in branches] == list(MODELS)
    for name, branch in zip(MODELS, branches, strict=True):
        told = branch["then"]["properties"]
        for field in fields_of(tier_settings(name)).values():
            assert told[field.name]["description"] == field.doc
            assert field.required or told[field.name]["default"] == field.default


def test_reading_a_grid_imports_nothing_heavy() -> None:
    heavy = ["torch", "ray", "optuna", "duckdb", "matplotlib"]
    code = f"""
import sys
from bilin.orchestrator.grid import grid_schema, read_grid
read_grid({str(EXAMPLES[0])!r}); grid_schema()
print(*(name for name in {heavy} if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
