from __future__ import annotations

import pytest

from bilin.orchestrator.grid import resolved, restore_grid
from tests.orchestrator.grid.grids import faults, short, short_fault


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("train: {lengths: [10, 2]}", "found [10, 2]; accepted: the shortest length, then the longest"),
        ("train: {steps: 10, warmup_steps: 10}", "found 10; accepted: fewer than steps (10)"),
        ("train: {steps: [10, 99], warmup_steps: [5, 20]}", "warmup_steps[1]: found 20; accepted: fewer than steps"),
        ("validate: {lengths: [50, 50]}", "found [50, 50]; accepted: each length once (50 is repeated)"),
        ("validate: {lengths: [50, 500]}", "validate.lengths[1]: found 500, which is one of test.lengths"),
        ("test: {lengths: [10, 800]}", "test.lengths[1]: found 800, which is one of validate.lengths by default"),
        ("test: {lengths: []}", "test.lengths: found []; accepted: at least one length"),
        ("test: {lengths: [10, 10]}", "each length once"),
        ("validate: {lengths: []}", "at least one length, or stop_when_solved: false in train"),
        (
            "train: {steps: [900, 200]}\nlearning_rate: {choices: [1e-3], until_solved: true}",
            "validate.every: found 250 with 200 steps; accepted with until_solved: fewer, for at least two evaluations",
        ),
        ("resources: {device: cuda}", "resources.device: found cuda; accepted: auto or cpu, or gpus above 0"),
        ("resources: {device: cpu, gpus: 1}", "resources.device: found cpu; accepted: auto or cuda, or gpus: 0"),
        ("resources: {gpus: 1.5}", "resources.gpus: found 1.5; accepted: a fraction below 1, or a whole number"),
        ("resources: {accelerator: H100}", "resources.accelerator: found H100; accepted: null, or gpus above 0"),
        ("resources: {memory: 4}", "resources.memory: found 4; accepted: a size, as 500MB, 4GB or 4GiB or null"),
        ("resources: {memory: 0GB}", "resources.memory: found 0GB; accepted: null, or a size above 0"),
        ("resources: {custom: [a]}", "found a list of 1; accepted: a mapping of names without spaces to numbers"),
        ("resources: {custom: {a: 0}}", "resources.custom.a: found 0; accepted: a number of at least 0.0001"),
        ("resources: {custom: {a b: 1}}", 'resources.custom.a b: found the name "a b"; accepted: a mapping of names'),
        ("resources: {custom: {CPU: 2}}", "resources.custom: found {CPU: 2}; accepted: other names than CPU"),
        ("seeds: [0, 1, 0]", "seeds: found [0, 1, 0]; accepted: each seed once (0 is repeated)"),
        ("seeds: [-1]", "seeds[0]: found -1; accepted: a whole number of at least 0"),
        ("seeds: 3", "seeds: found 3; accepted: a list of whole numbers of at least 0"),
    ],
)
def test_values_that_do_not_go_together_are_refused(more: str, message: str) -> None:
    assert message in short_fault(more)


def test_without_validation_lengths_a_trial_runs_to_its_end() -> None:
    plain = short("validate: {lengths: []}\ntrain: {stop_when_solved: false}")
    assert plain.cells[0].cell.validate.lengths == ()
    assert faults("name: x\nvalidate: {lengths: []}\ntrain: {stop_when_solved: [false, true]}\n")[-1].startswith(
        "line 2"
    )


def test_resources_come_back_as_they_were_written() -> None:
    grid = short("resources: {gpus: 0.5, accelerator: H100, memory: 4GB, custom: {license: 1, disk: 0.5}}")
    asked = grid.cells[0].resources
    assert (asked.memory_bytes, asked.custom.by_name) == (4 * 10**9, {"disk": 0.5, "license": 1.0})
    assert restore_grid(resolved(grid)).cells[0].resources == asked
    assert grid.cells[0].cell_id == short("").cells[0].cell_id


def test_the_order_of_lengths_makes_no_other_cell() -> None:
    first, second = (short(f"validate: {{lengths: {lengths}}}").cells[0] for lengths in ("[50, 100]", "[100, 50]"))
    assert first == second


def test_one_training_length_is_a_pair_of_equal_ones() -> None:
    assert short("train: {lengths: [5, 5]}").cells[0].cell.train.lengths == (5, 5)


def test_a_value_that_goes_with_none_of_several_is_one_fault() -> None:
    model = "models: [{tier: block_diagonal, block_size: [3, 2], hidden: [64, 128, 256]}]"
    found = faults(f"name: x\ntasks: [{{name: modular_addition, m: 2}}]\n{model}")
    assert found == ["line 3: models[0].block_size[0]: found 3; accepted: a divisor of hidden (64)"]
