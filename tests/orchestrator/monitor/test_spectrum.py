"""What a kept trial has learned, beside an exact solution."""

from __future__ import annotations

import cmath
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import bilin
from bilin import results
from bilin.cli.results import app
from bilin.errors import InputError, StoreError
from bilin.models.construct import construct
from bilin.orchestrator import ClusterSpec, launch, spectrum
from bilin.tasks import task_settings
from bilin.workers.spectrum import _machine, spectrum_of
from tests.models.variants import tier_class

GRID = {
    "name": "kept",
    "tasks": [{"name": "modular_addition", "m": 3}],
    "models": [
        {"tier": "rotation", "hidden": 8, "embedding": 8},
        {"tier": "full", "hidden": 4, "embedding": 4, "input_independent": True, "additive": True},
        {"tier": "lstm", "hidden": 8},
    ],
    "train": {"steps": 2},
    "validate": {"every": 2, "lengths": [20], "num_sequences": 8},
    "test": {"lengths": [10], "num_sequences": 8},
    "learning_rate": {"choices": [1e-2]},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = tmp_path_factory.mktemp("kept") / "store"
    launch(GRID, store=store, cluster=ClusterSpec(kind="inline"), progress=False)
    return store


@pytest.fixture
def trial(store):
    def find(tier):
        (row,) = results.query(store=store, view="trials", where=f"tier = '{tier}'").to_pylist()
        return row["trial_id"]

    return find


def test_rotations_have_the_angles_of_their_weights(store, trial, tmp_path):
    rows = spectrum(trial("rotation"), store=store).data.to_pylist()
    results.copy_weights(store, "kept", trial("rotation"), tmp_path / "weights")
    model: Any = bilin.load_model(tmp_path / "weights")
    angles = (model.embedding.double() @ model.weights["W"].double().T).detach()
    for token in range(3):
        learned = [row for row in rows if (row["token"], row["matrix"]) == (token, "learned")]
        assert [row["modulus"] for row in learned] == pytest.approx([1] * 8)
        both = sorted(cmath.exp(sign * 1j * float(angle)).imag for angle in angles[token] for sign in (1, -1))
        assert sorted(row["imag"] for row in learned) == pytest.approx(both, abs=1e-6)


def test_the_exact_solution_of_addition_turns_by_thirds(store, trial):
    rows = spectrum(trial("rotation"), store=store).data.to_pylist()
    exact = {token: [] for token in range(3)}
    for row in rows:
        if row["matrix"] == "exact":
            exact[row["token"]].append(round(row["angle_deg"]))
    assert exact == {0: [0, 0, 0], 1: [-120, 0, 120], 2: [-120, 0, 120]}


def test_a_matrix_for_all_tokens_has_one_spectrum(store, trial):
    rows = spectrum(trial("full"), store=store).data.to_pylist()
    learned = [row for row in rows if row["matrix"] == "learned"]
    first, second = ([row["real"] for row in learned if row["token"] == token] for token in (0, 1))
    assert first == second
    assert len(first) == 4
    assert max(row["modulus"] for row in learned) != 1  # its size matters


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("parity", {}),
        ("modular_addition", {"m": 5}),
        ("random_state_machine", {"m": 4, "transitions": "maps", "num_symbols": 3}),
        ("group_word", {"group": "A4"}),
    ],
)
def test_a_machine_is_found_in_what_a_task_samples(name, fields):
    task: Any = task_settings(name)(**fields)
    machine = _machine(task)
    assert machine is not None
    if name == "random_state_machine":
        assert machine == [list(states) for states in task.machine]
    tier = tier_class("full")(hidden=task.num_classes, embedding=task.vocab_size)
    batch = task.sample(torch.tensor([50, 50]), torch.Generator().manual_seed(1))
    module = construct(tier, machine).eval()
    with torch.no_grad():
        states = module(batch.tokens, batch.num_tokens, every_token=True).argmax(2)
    assert torch.equal(states, batch.targets)


@pytest.mark.parametrize(("name", "fields"), [("copying", {}), ("modular_arithmetic", {"m": 3})])
def test_a_task_that_is_no_machine_has_no_exact_solution(name, fields):
    assert _machine(task_settings(name)(**fields)) is None


def test_a_constructed_solution_has_the_spectrum_that_stands_beside_it():
    machine = [[1, 2, 0], [0, 2, 1]]
    module = construct(tier_class("full")(hidden=3, embedding=2), machine)
    assert [round(cmath.phase(one.value) / cmath.pi * 180) for one in spectrum_of(module, is_exact=False)] == [
        -120, 0, 120, 180, 0, 0
    ]  # fmt: skip


def test_what_has_no_matrix_or_no_weights_is_said(store, trial):
    with pytest.raises(InputError, match="the tier of this trial has no matrix per token; accepted: bilinear tiers"):
        spectrum(trial("lstm"), store=store)
    with pytest.raises(StoreError, match="no trial begins with ffff"):
        spectrum("ffff", store=store)


def test_the_command_shows_a_table_and_draws(store, trial, tmp_path):
    words = ["spectrum", trial("rotation")[:8], "--store", str(store)]
    shown = CliRunner().invoke(app, words).stdout.splitlines()
    assert shown[0].split() == ["token", "matrix", "modulus", "angle_deg", "real", "imag"]
    assert len(shown) == 2 + 3 * (8 + 3) + 2
    drawn = CliRunner().invoke(app, ["plot", *words, "-o", str(tmp_path / "a.svg")])
    assert (drawn.exit_code, drawn.stdout) == (0, "")
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


def test_only_a_spectrum_is_of_a_trial(store):
    for words in (["spectrum"], ["length", "cb604055"], ["spectrum", "cb604055", "--terminal"]):
        result = CliRunner().invoke(app, ["plot", *words, "-o", "a.svg", "--store", str(store)])
        assert isinstance(result.exception, InputError)
        assert "a spectrum is of one trial" in str(result.exception)


def test_a_picture_has_a_panel_for_each_token(store, trial):
    figure = results.draw_spectrum(spectrum(trial("rotation"), store=store).data)
    assert [panel.get_title() for panel in figure.axes] == ["token 0", "token 1", "token 2"]
    drawn: Any = figure.axes[1].lines
    assert [len(line.get_xdata()) for line in drawn] == [8, 3]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["learned", "exact"]
