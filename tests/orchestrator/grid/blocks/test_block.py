from __future__ import annotations

import pytest

from tests.orchestrator.grid.grids import HEAD, fault, faults, short, short_fault


def test_values_are_converted_to_the_fields_types() -> None:
    train = short("train: {steps: 500, weight_decay: 1, clip_norm: null}").cells[0].cell.train
    assert (train.steps, train.weight_decay, train.clip_norm) == (500, 1.0, None)
    assert type(train.weight_decay) is float


def test_a_negative_zero_makes_no_other_cell() -> None:
    first, second = (short(f"train: {{weight_decay: {zero}}}").cells[0] for zero in ("-0.0", "0"))
    assert first.cell_id == second.cell_id
    assert str(first.cell.train.weight_decay) == "0.0"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("train: {steps: 0}", "train.steps: found 0; accepted: a whole number of at least 1"),
        ("train: {steps: 1e5}", "train.steps: found 1e5 (write 100000); accepted: a whole number of at least 1"),
        ("train: {steps: '5'}", 'train.steps: found "5"; accepted: a whole number of at least 1'),
        ("train: {steps: true}", "train.steps: found true; accepted: a whole number of at least 1"),
        ("train: {steps: }", "train.steps: found nothing; accepted: a whole number of at least 1"),
        ("train: {steps: {a: 1}}", "train.steps: found a mapping; accepted: a whole number of at least 1"),
        ("train: {lengths: [0, 3]}", "train.lengths[0]: found 0; accepted: a whole number of at least 1"),
        ("train: {lengths: 10}", "train.lengths: found 10; accepted: a list of 2 whole numbers of at least 1"),
        ("train: {lengths: [1, 2, 3]}", "train.lengths: found a list of 3; accepted: a list of 2 whole numbers"),
        ("train: {weight_decay: .nan}", "train.weight_decay: found .nan; accepted: a number of at least 0"),
        ("train: {clip_norm: 0}", "train.clip_norm: found 0; accepted: a number above 0 or null"),
        (
            "train: {steps: 99999999999999999999}",
            "found 99999999999999999999; accepted: whole numbers from -9223372036",
        ),
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
