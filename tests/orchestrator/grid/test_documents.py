from __future__ import annotations

import pytest

from bilin.orchestrator.grid import Choices, parse_grid
from tests.orchestrator.grid.grids import HEAD, fault, faults, short, short_fault


def m_and_steps(text: str) -> list[tuple[int, int]]:
    cells = [wanted.cell for wanted in parse_grid(text).cells]
    return [(int(getattr(cell.task, "m", 0)), cell.train.steps) for cell in cells]


def test_top_level_keys_are_defaults_that_a_document_replaces_whole() -> None:
    text = HEAD + "train: {steps: 5, batch_size: 2}\ngrids: [{}, {train: {steps: 6}}]"
    grid = parse_grid(text)
    assert [(wanted.cell.train.steps, wanted.cell.train.batch_size) for wanted in grid.cells] == [(5, 2), (6, 64)]
    assert len(grid.counts.axes) == 2


def test_documents_need_no_top_level_tasks() -> None:
    document = "tasks: [{name: modular_addition, m: %d}], models: [{tier: full}]"
    assert m_and_steps(f"name: x\ngrids: [{{{document % 2}}}, {{{document % 3}}}]") == [(2, 100_000), (3, 100_000)]


def test_a_cell_of_two_documents_unites_its_rates_and_seeds_in_their_order() -> None:
    first = "{learning_rate: {choices: [1e-3, 1e-4]}, seeds: [1, 0]}"
    second = "{learning_rate: {choices: [1e-2, 1e-3]}, seeds: [0, 2]}"
    (wanted,) = short(f"grids: [{first}, {second}]").cells
    assert wanted.learning_rate == Choices(choices=(1e-3, 1e-4, 1e-2), until_solved=False)
    assert (wanted.seeds, wanted.max_trials) == ((1, 0, 2), 9)


@pytest.mark.slow
def test_too_many_documents_are_refused_before_they_fill_the_memory() -> None:
    rates = ", ".join(str(number) for number in range(2, 1002))
    document = f"{{tasks: [{{name: modular_addition, m: [{rates}]}}], train: {{steps: [{rates}]}}}}"
    assert "found 2,000,000 combinations; accepted: at most 1,000,000" in fault(
        f"{HEAD}grids: [{', '.join([document] * 9)}]"
    )


def test_only_the_cells_of_both_documents_unite() -> None:
    text = HEAD + "grids:\n- {}\n- {tasks: [{name: modular_addition, m: [2, 3]}], seeds: [1]}"
    assert [wanted.seeds for wanted in parse_grid(text).cells] == [(0, 1), (1,)]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", "{log_uniform: [1e-5, 1e-2], trials: 3}"),
        ("learning_rate", "{choices: [1e-3], until_solved: true}"),
        ("test", "{lengths: [20]}"),
        ("resources", "{cpus: 2}"),
    ],
)
def test_a_cell_of_two_documents_has_one_test_one_search_and_one_size(key: str, value: str) -> None:
    found = short_fault(f"grids:\n- {{}}\n- {{{key}: {value}}}")
    assert found.startswith(
        f"line 6: grids[1].{key}: some of its cells are in grids[0] (line 5) too, with another {key}"
    )


def test_searches_with_the_same_bounds_unite() -> None:
    search = "learning_rate: {log_uniform: [1e-5, 1e-2], trials: 3}"
    (wanted,) = short(f"{search}\ngrids: [{{}}, {{seeds: [1]}}]").cells
    assert wanted.seeds == (0, 1)


def test_a_default_with_a_fault_is_one_fault_for_all_documents() -> None:
    text = HEAD.replace("m: 2", "m: 1") + "train: {steps: 0, stps: 1}\ngrids: [{}, {}, {seeds: []}]"
    assert [line.split(";")[0] for line in faults(text)] == [
        "line 2: tasks[0].m: found 1",
        "line 4: train.steps: found 0",
        'line 4: train.stps: unknown key "stps" (did you mean steps?)',
        "line 5: grids[2].seeds: found []",
    ]


def test_an_exclusion_may_mean_cells_of_one_document_only() -> None:
    other = "{tasks: [{name: modular_addition, m: [2, 3]}]}"
    assert m_and_steps(f"{HEAD}exclude: [{{m: 3}}]\ngrids: [{{}}, {other}]") == [(2, 100_000)]
    assert "excludes nothing" in fault(f"{HEAD}exclude: [{{m: 4}}]\ngrids: [{{}}, {other}]")


@pytest.mark.parametrize(
    ("grids", "message"),
    [
        ("[]", "grids: found an empty list"),
        ("{seeds: [1]}", "grids: found a mapping; accepted: a list of documents"),
        ("[3]", "grids[0]: found 3; accepted: a mapping"),
        ("[{name: y}]", 'grids[0].name: unknown key "name" (it belongs at the top level)'),
        ("[{grids: []}]", 'grids[0].grids: unknown key "grids"'),
        ("[{sedes: [1]}]", 'grids[0].sedes: unknown key "sedes" (did you mean seeds?)'),
    ],
)
def test_grids_is_a_list_of_documents(grids: str, message: str) -> None:
    assert message in short_fault(f"grids: {grids}")


def test_a_document_without_tasks_of_its_own_or_above_misses_them() -> None:
    text = "name: x\nmodels: [{tier: full}]\ngrids:\n- {seeds: [1]}\n"
    assert fault(text).startswith("line 4: grids[0].tasks: missing")
