from __future__ import annotations

import pytest

from bilin.fields import fields_of
from bilin.models import MODELS, tier_settings
from bilin.orchestrator.grid import Choices, LogUniform, parse_grid, resolved, restore_grid
from bilin.spec import TrainSpec
from bilin.tasks import TASKS, task_settings
from tests.orchestrator.grid.grids import HEAD, fault, faults, short, short_fault


def test_values_are_converted_to_the_fields_types() -> None:
    train = short("train: {steps: 500, weight_decay: 1, clip_norm: null}").cells[0].cell.train
    assert (train.steps, train.weight_decay, train.clip_norm) == (500, 1.0, None)
    assert type(train.weight_decay) is float


def test_a_model_that_cannot_take_a_task_is_a_fault_unless_they_are_not_combined() -> None:
    text = HEAD.replace("m: 2", "m: [2, 5]").replace("full", "full, onehot: true, embedding: [4, 5]")
    reason = "embedding is 4 with onehot: true; accepted: at least 5, a number a token"
    assert fault(text) == f"line 3: models: full cannot take modular_addition: {reason}"
    assert len(parse_grid(text + "zip: [[m, embedding]]").cells) == 2
    assert len(parse_grid(text + "exclude: [{m: 5, embedding: 4}]").cells) == 3


def test_a_negative_zero_makes_no_other_cell() -> None:
    first, second = (short(f"train: {{weight_decay: {zero}}}").cells[0] for zero in ("-0.0", "0"))
    assert first.cell_id == second.cell_id
    assert str(first.cell.train.weight_decay) == "0.0"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("train: {steps: 0}", "train.steps: found 0; accepted: a whole number of at least 1"),
        ("train: {steps: 1e5}", "train.steps: found 1e5 (write 100000); accepted: a whole number of at least 1"),
        ("train: {steps: '5'}", 'train.steps: found "5" (remove the quotes); accepted: a whole number of at least 1'),
        ("train: {steps: true}", "train.steps: found true; accepted: a whole number of at least 1"),
        ("train: {steps: }", "train.steps: found nothing; accepted: a whole number of at least 1"),
        ("train: {steps: {a: 1}}", "train.steps: found a mapping; accepted: a whole number of at least 1"),
        ("train: {lengths: [0, 3]}", "train.lengths[0]: found 0; accepted: a whole number of at least 1"),
        ("train: {lengths: 10}", "train.lengths: found 10; accepted: a list of 2 whole numbers of at least 1"),
        ("train: {lengths: [1, 2, 3]}", "train.lengths: found a list of 3; accepted: a list of 2 whole numbers"),
        ("train: {weight_decay: .nan}", "train.weight_decay: found .nan; accepted: a number of at least 0"),
        ("train: {clip_norm: 0}", "train.clip_norm: found 0; accepted: a number above 0, or null"),
        (
            "train: {steps: 99999999999999999999}",
            "found 99999999999999999999; accepted: whole numbers from -9223372036",
        ),
        ("train: {weight_decay: '1e-3'}", 'found "1e-3" (remove the quotes); accepted: a number of at least 0'),
        ("train: {stop_when_solved: 'true'}", 'found "true" (remove the quotes); accepted: true or false'),
        (
            "learning_rate: [1e-3, 1e-2]",
            "(write {choices: [1e-3, 1e-2]}); accepted: a mapping with choices or log_unif",
        ),
        ("learning_rate: 1e-3", "found 1e-3 (write {choices: [1e-3]}); accepted: a mapping with choices or"),
        ("steps: 20", 'unknown key "steps" (indent it: it belongs under train); accepted: name'),
        ("every: 20", 'unknown key "every" (indent it: it belongs under validate); accepted: name'),
        ("train: {stop_when_solved: yes}", 'found "yes" (write true); accepted: true or false'),
        ("train: {schedule: cosin}", 'found "cosin" (did you mean cosine?); accepted: one of constant, cosine, linear'),
        ("train: [1]", "train: found a list of 1; accepted: a mapping"),
        ("train: {step: 3}", 'train.step: unknown key "step" (did you mean steps?); accepted: steps, batch_size'),
        ("validate: {every: [1, 2]}", "validate.every: found a list of 2; accepted: a whole number of at least 1"),
        ("resources: {threads: 0}", "resources.threads: found 0; accepted: a whole number of at least 1"),
    ],
)
def test_a_fault_says_where_what_and_what_is_accepted(more: str, message: str) -> None:
    found = short_fault(more)
    assert found.startswith("line 4: ")
    assert message in found


@pytest.mark.parametrize("axis", ["[]", "[3, 0]", "[3, [4]]", "[3, null]", "[3, 3]"])
def test_an_axis_has_accepted_values_each_once(axis: str) -> None:
    assert "line 4: train.steps" in short_fault(f"train: {{steps: {axis}}}")


def test_null_is_a_value_of_an_axis_where_the_field_may_be_null() -> None:
    cells = short("train: {clip_norm: [null, 1.0]}").cells
    assert [wanted.cell.train.clip_norm for wanted in cells] == [None, 1.0]


def test_all_faults_of_all_entries_come_at_once_in_the_order_of_their_lines() -> None:
    text = """
name: Bad Name
tasks:
  - {name: modular_addtion, m: 2}
  - {name: modular_addition, m: [1, 4]}
  - {name: modular_addition}
models:
  - {tier: full, rank: 3}
  - {tier: block_diagonal, block_size: [3, 2]}
  - {tier: cp, rnk: 3}
train: {steps: 10, warmup_steps: 10, sped: 3}
learning_rate: {choices: [0, .inf, -1]}
seeds: []
modles: 3
"""
    assert [(line.split(":")[0], line.split(": ")[1]) for line in faults(text)] == [
        ("line 2", "name"),
        ("line 4", "tasks[0].name"),
        ("line 5", "tasks[1].m[0]"),
        ("line 6", "tasks[2].m"),
        ("line 8", "models[0].rank"),
        ("line 9", "models[1].block_size[0]"),
        ("line 10", "models[2].rnk"),
        ("line 11", "train.sped"),
        ("line 11", "train.warmup_steps"),
        ("line 12", "learning_rate.choices[0]"),
        ("line 12", "learning_rate.choices[1]"),
        ("line 12", "learning_rate.choices[2]"),
        ("line 13", "seeds"),
        ("line 14", "modles"),
    ]


def test_a_misspelt_name_is_one_fault_and_not_also_missing() -> None:
    assert "did you mean rank?" in fault(HEAD.replace("{tier: full}", "{tier: cp, rnk: 3}"))
    assert "did you mean tasks?" in fault(HEAD.replace("tasks:", "taks:"))
    assert "did you mean name?" in fault(HEAD.replace("name: short", "nam: short"))


def test_an_alias_with_a_fault_is_one_fault() -> None:
    text = "name: x\ntasks: [{name: modular_addition, m: 2}]\nmodels: [&bad {tier: full, hidden: 0}, *bad, *bad]\n"
    assert fault(text).startswith("line 3: models[0].hidden: found 0")


def with_model(entry: str) -> str:
    return HEAD.replace("{tier: full}", entry)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{tier: ful}", 'models[0].tier: found "ful" (did you mean full?); accepted: one of full, cp'),
        (
            "{tier: [full, cp]}",
            "models[0].tier: found a list of 2 (write one entry for each: {tier: full}, {tier: cp})",
        ),
        ("{hidden: 3}", "models[0].tier: missing; accepted: one of full"),
        ("full", 'models[0]: found "full"; accepted: a mapping'),
        ("{tier: cp}", "models[0].rank: missing; accepted: a whole number of at least 1"),
        ("{tier: cp, rank: 0}", "models[0].rank: found 0"),
        (
            "{tier: real_diagonal, block_size: 8}",
            'unknown key "block_size" (a field of block_diagonal); accepted: tier, hidden',
        ),
        ("{tier: lstm, additive: true}", 'unknown key "additive" (a field of full, cp'),
        ("{tier: block_diagonal, block_size: 3}", "block_size: found 3; accepted: a divisor of hidden (256)"),
        ("{tier: rotation, hidden: 7}", "hidden: found 7; accepted: an even number"),
    ],
)
def test_an_entry_has_the_fields_of_what_it_names(entry: str, message: str) -> None:
    assert message in fault(with_model(entry))


@pytest.mark.parametrize("value", ["3", "[]", "{tier: full}", "full", ""])
def test_models_are_a_list_of_mappings(value: str) -> None:
    text = HEAD.replace("[{tier: full}]", value)
    assert "models: found" in fault(text)
    assert "accepted: a list of mappings, such as [{tier: full}]" in fault(text)


def test_what_is_required_is_missed() -> None:
    assert [line.split(";")[0] for line in faults("seeds: [0]")] == [
        "line 1: name: missing",
        "line 1: tasks: missing",
        "line 1: models: missing",
    ]


@pytest.mark.parametrize("name", ["Short", "-x", "a b", "x" * 65, "a/b", "", "3", "null", "[a]"])
def test_a_name_must_do_for_a_folder(name: str) -> None:
    assert "name: found" in fault(HEAD.replace("name: short", f"name: {name}"))


@pytest.mark.parametrize("name", ["a", "0", "3d.x_y-z", "x" * 64])
def test_names_of_64_letters_digits_dots_and_dashes_do(name: str) -> None:
    assert parse_grid(HEAD.replace("name: short", f"name: '{name}'")).name == name


def test_a_name_of_a_field_means_one_field() -> None:
    """A condition, a zip and a column name fields without saying whose they are."""
    tasks = {name for task in TASKS for name in fields_of(task_settings(task))}
    models = {name for tier in MODELS for name in fields_of(tier_settings(tier))}
    train = set(fields_of(TrainSpec))
    assert not tasks & models | tasks & train | models & train
    assert not {"task", "tier", "name", "lr", "seed"} & (tasks | models | train)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("train: {lengths: [10, 2]}", "found [10, 2]; accepted: the shortest length, then the longest"),
        ("train: {steps: 10, warmup_steps: 10}", "found 10; accepted: fewer than steps (10)"),
        ("train: {steps: [10, 99], warmup_steps: [5, 20]}", "warmup_steps[1]: found 20; accepted: fewer than steps"),
        ("validate: {lengths: [50, 50]}", "found [50, 50]; accepted: each length once (50 is repeated)"),
        ("validate: {lengths: [50, 500]}", "validate.lengths[1]: found 500, which is one of test.lengths"),
        ("test: {lengths: [10, 797]}", "test.lengths[1]: found 797, which is one of validate.lengths by default"),
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
        ("resources: {memory: 4}", "resources.memory: found 4; accepted: a size, as in 500MB, 4GB or 4GiB, or null"),
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


def test_three_rates_are_tried_by_default() -> None:
    wanted = short().cells[0]
    assert wanted.learning_rate == Choices(choices=(1e-3, 1e-4, 1e-5), until_solved=False)
    assert wanted.max_trials == 3


def test_rates_keep_their_order() -> None:
    wanted = short("learning_rate: {choices: [1e-4, 0.001], until_solved: true}\nseeds: [3, 1]").cells[0]
    assert wanted.learning_rate == Choices(choices=(1e-4, 1e-3), until_solved=True)
    assert (wanted.seeds, wanted.max_trials) == ((3, 1), 4)


def test_rates_are_searched_between_two_bounds() -> None:
    wanted = short("learning_rate: {log_uniform: [1e-5, 1e-2], trials: 12}\nseeds: [0, 1]").cells[0]
    assert wanted.learning_rate == LogUniform(log_uniform=(1e-5, 1e-2), trials=12, round=4)
    assert wanted.max_trials == 24


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{choices: []}", "choices: found []; accepted: at least one learning rate"),
        ("{choices: 1e-3}", "choices: found 1e-3; accepted: a list of numbers above 0"),
        ("{choices: [1e-3, 0.001]}", "each learning rate once (0.001 is repeated)"),
        ("{choices: [0]}", "choices[0]: found 0; accepted: a number above 0"),
        ("{choices: [.nan]}", "choices[0]: found .nan"),
        ("{choices: [-.inf]}", "choices[0]: found -.inf"),
        ("{choices: [1e999]}", "choices[0]: found 1e999"),
        ("{choices: [-1e-3]}", "choices[0]: found -1e-3"),
        ("{choices: [1e-3], trials: 3}", 'unknown key "trials" (only with log_uniform)'),
        ("{choices: [1e-3], log_uniform: [1, 2]}", "found both choices and log_uniform"),
        (
            "{log_uniform: [1e-2, 1e-5], trials: 3}",
            "found [0.01, 1e-05]; accepted: the lowest learning rate, then the highest",
        ),
        ("{log_uniform: [0, 1], trials: 3}", "log_uniform[0]: found 0"),
        ("{log_uniform: [1e-3], trials: 3}", "found a list of 1; accepted: a list of 2 numbers above 0"),
        ("{log_uniform: [1e-3, 1]}", "trials: missing; accepted: a whole number of at least 1"),
        ("{trials: 3}", "log_uniform: missing"),
        ("{log_uniform: [1e-3, 1], trials: 3, round: 0}", "round: found 0"),
        ("{log_uniform: [1e-3, 1], trials: 3, until_solved: true}", '"until_solved" (only with choices)'),
        ("[1e-3]", "learning_rate: found a list of 1 (write {choices: [1e-3]}); accepted: a mapping"),
    ],
)
def test_rates_that_cannot_be_are_refused(written: str, message: str) -> None:
    assert message in short_fault(f"learning_rate: {written}")


def test_a_list_of_tiers_is_one_entry_each() -> None:
    found = fault("name: short\ntasks: [{name: modular_addition, m: 2}]\nmodels: [{tier: [full, cp]}]\n")
    assert "line 3: models[0].tier: found a list of 2 (write one entry for each: {tier: full}, {tier: cp})" in found


def test_a_fault_in_one_block_hides_none_between_others() -> None:
    text = "validate: {lengths: [10], every: 0}\ntest: {lengths: [10, 50], num_sequences: x}\ntrain: {steps: x}"
    paths = [message.split(": ")[1] for message in faults(HEAD + text)]
    assert paths == ["validate.every", "validate.lengths[0]", "test.num_sequences", "train.steps"]
