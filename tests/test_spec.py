from __future__ import annotations

import dataclasses
import subprocess
import sys
from dataclasses import dataclass

import pytest

from bilin.fields import option
from bilin.models.bilinear.cp import CP
from bilin.models.bilinear.full import Full
from bilin.models.recurrent.lstm import LSTM
from bilin.spec import (
    Cell,
    Point,
    Resources,
    TestSpec,
    TrainSpec,
    TrialSpec,
    ValidateSpec,
    bytes_of,
    derive_seed,
    describe,
    measured,
    trial_id,
)
from bilin.tasks.copying import Copying
from bilin.tasks.modular_addition import ModularAddition
from bilin.tasks.modular_arithmetic import ModularArithmetic
from bilin.tasks.random_state_machine import RandomStateMachine

CELL = Cell(task=ModularAddition(m=5), model=Full(), train=TrainSpec(), validate=ValidateSpec(mixed_lengths=False))


def spec(**changes: object) -> TrialSpec:
    values: dict[str, object] = {"cell": CELL, "lr": 1e-3, "seed": 0, "test": TestSpec(), "resources": Resources()}
    return TrialSpec(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"task": ModularAddition(m=6)},
        {"model": CP(rank=64)},
        {"model": Full(hidden=64)},
        {"train": TrainSpec(batch_size=65)},
        {"train": TrainSpec(normalize="state")},
        {"validate": ValidateSpec(every=100)},
    ],
)
def test_what_is_measured_makes_another_cell(change: dict[str, object]) -> None:
    assert dataclasses.replace(CELL, **change).cell_id != CELL.cell_id  # type: ignore[arg-type]


def test_a_last_validation_is_in_the_id_where_there_is_one() -> None:
    trained, beyond = TrainSpec(lengths=(2, 10)), ValidateSpec(lengths=(20, 11))
    cells = [dataclasses.replace(CELL, train=trained, validate=beyond)]
    cells += [dataclasses.replace(cells[0], validate=dataclasses.replace(beyond, mixed_lengths=False))]
    assert [cell.mixed_lengths for cell in cells] == [(11, 20), None]
    assert cells[0].cell_id != cells[1].cell_id
    without = [dataclasses.replace(cell, train=TrainSpec(lengths=(2, 20))) for cell in cells]
    assert [cell.mixed_lengths for cell in without] == [None, None]
    assert without[0].cell_id == without[1].cell_id


@pytest.mark.parametrize(
    "change", [{"test": TestSpec(lengths=(7,))}, {"resources": Resources(cpus=2, threads=2, memory="4GB")}]
)
def test_what_is_not_measured_is_not_in_the_id(change: dict[str, object]) -> None:
    assert spec(**change).trial_id == spec().trial_id


@pytest.mark.parametrize("change", [{"lr": 1e-4}, {"seed": 1}])
def test_rate_and_seed_make_another_trial_of_the_same_cell(change: dict[str, object]) -> None:
    other = spec(**change)
    assert other.trial_id != spec().trial_id
    assert other.cell.cell_id == CELL.cell_id


def test_a_rate_written_otherwise_is_the_same_trial() -> None:
    assert trial_id("cell", Point(0.001), 0) == trial_id("cell", Point(float("1e-3")), 0)
    assert trial_id("cell", Point(1), 0) == trial_id("cell", Point(1.0), 0)


@pytest.mark.parametrize("model", [LSTM(), Full(additive=True)])
def test_normalize_is_no_part_of_a_tier_that_it_has_no_effect_on(model: Full | LSTM) -> None:
    cells = [dataclasses.replace(CELL, model=model, train=TrainSpec(normalize=how)) for how in ("readout", "none")]
    assert cells[0].cell_id == cells[1].cell_id


def test_what_decays_is_no_part_of_a_cell_without_decay_and_was_everything() -> None:
    cells = [
        dataclasses.replace(CELL, train=TrainSpec(weight_decay=decay, weight_decay_on=where), searched=searched)
        for where in ("weights", "all")
        for decay, searched in ((0.0, ()), (0.1, ()), (0.0, ("weight_decay",)))
    ]
    weights, everything = ([cell.cell_id for cell in cells[start : start + 3]] for start in (0, 3))
    assert [one == other for one, other in zip(weights, everything, strict=True)] == [True, False, False]
    assert "weight_decay_on" not in measured(cells[4].train)


def test_supervision_is_no_part_of_a_task_that_has_its_own() -> None:
    for task, same in ((Copying(), True), (ModularAddition(m=5), False)):
        final, every = (
            dataclasses.replace(CELL, task=task, train=TrainSpec(supervision=where))
            for where in ("final", "every_token")
        )
        assert (final.cell_id == every.cell_id) is same
        assert [final.supervision, every.supervision] == ["every_token" if same else "final", "every_token"]


def test_a_later_field_enters_the_id_only_where_it_differs_from_before() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Grown:
        steps: int = option(10, doc="first")
        gates: int = option(2, doc="later", before=1)

    assert measured(Grown(gates=1)) == {"steps": 10}
    assert measured(Grown()) == {"steps": 10, "gates": 2}


def test_a_version_above_1_changes_the_ids_of_its_own_settings_only() -> None:
    class Faulty(Full):
        version = 1

    class Mended(Full):
        @property
        def version(self) -> int:
            return 2 if self.additive else 1

    for additive, same in ((False, True), (True, False)):
        before, after = (dataclasses.replace(CELL, model=tier(additive=additive)) for tier in (Faulty, Mended))
        assert (before.cell_id == after.cell_id) is same


def test_ids_do_not_change_between_processes() -> None:
    code = "from tests.test_spec import spec; print(spec().trial_id)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == spec().trial_id


def test_ids_are_pinned() -> None:
    # Results on disk are found by these: they must never move. A change of numbers raises RESULTS_VERSION.
    assert (CELL.cell_id, spec().trial_id) == ("6dc9e4434400cf6b", "b33c71cdb5f9b428")
    lstm = dataclasses.replace(CELL, model=LSTM(), task=RandomStateMachine(m=5))
    arithmetic = dataclasses.replace(CELL, task=ModularArithmetic(m=3), train=TrainSpec(supervision="every_token"))
    assert (lstm.cell_id, arithmetic.cell_id) == ("a0e6a1e939a35219", "4df8c68fc46fa384")


def test_sizes_of_memory() -> None:
    sizes = {"4GB": 4 * 10**9, "4GiB": 4 * 2**30, "4G": 4 * 2**30, "1.5 tb": 15 * 10**11, "500KB": 500_000}
    assert {size: bytes_of(size) for size in sizes} == sizes


def test_a_description_writes_every_default_out() -> None:
    described = describe(CELL)
    assert described["task"] == {"name": "modular_addition", "m": 5}
    assert described["model"]["hidden"] == 256
    assert described["train"]["warmup_steps"] == 0


def test_seeds_differ_by_purpose_and_fit_a_generator() -> None:
    seeds = {derive_seed("cell", 0, purpose) for purpose in ("init", "train", "test")}
    assert len(seeds) == 3
    assert all(0 <= seed < 2**63 for seed in seeds)
