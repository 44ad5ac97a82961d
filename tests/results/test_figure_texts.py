"""Figures of characters."""

from __future__ import annotations

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from bilin.cli.results import app
from bilin.results import SweepWriter, draw_text, figure_data
from bilin.results.figures.plot import KINDS
from tests.results.samples import cell, failed, pair
from tests.results.test_pivot import scored


@pytest.fixture
def store(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        for rank, score in ((4, 0.0), (8, 0.5), (16, 1.0)):
            writer.append(scored(cell("cp", m=2, rank=rank), score))
        writer.append([*scored(cell("full", m=2), 1.0), failed(cell("lstm", m=2))])
    return tmp_path


def test_each_model_is_a_letter_at_the_height_of_its_accuracy(store):
    lines = draw_text("length", figure_data("length", store), 40).splitlines()
    assert lines[0] == "modular_addition m=2"
    assert lines[1] == "scaled accuracy"
    assert lines[2] == "  1.00 |*"  # the full matrix and the highest rank
    assert lines[8].endswith("|c")
    assert lines[14].endswith("|b")
    assert lines[17].split() == ["length"]
    assert len(lines[17]) == 40
    assert lines[18:] == [
        "", "a full", "b cp rank=4", "c cp rank=8", "d cp rank=16", "* several", "", "one seed"
    ]  # fmt: skip


def test_places_on_the_axis_are_by_the_logarithm(store):
    lines = draw_text("size", figure_data("size", store), 41).splitlines()
    points = {number: line.index("b", 7) for number, line in enumerate(lines[2:15]) if "b" in line[7:]}
    assert points == {0: 40, 6: 24, 12: 8}
    assert lines[2] == f"  1.00 |a{'-' * 31}b"  # the full matrix has no rank
    assert lines[16].split() == ["4", "8", "16"]
    assert lines[17].split() == ["rank"]
    assert lines[19:22] == ["a full", "b cp", "* several"]


def test_a_size_of_zero_makes_the_axis_linear(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([pair(cell("cp", rank=rank), recurrent_params=100 * rank - 400) for rank in (4, 8, 12)])
    lines = draw_text("size", figure_data("size", tmp_path, x="recurrent_params"), 41).splitlines()
    assert [at for at, mark in enumerate(lines[2]) if mark == "a"] == [8, 24, 40]
    assert lines[16].split() == ["0", "400", "800"]


def test_the_selected_rate_and_lost_trials_have_marks(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([pair(lr=1e-3, accuracy=0.9), pair(lr=1e-2, accuracy=0.4), failed(lr=1e-2, seed=1)])
    lines = draw_text("lr", figure_data("lr", tmp_path), 40).splitlines()
    assert lines[1] == "validation accuracy"
    assert lines[3] == "       |a°"
    assert lines[12].endswith(f"|{' ' * 29}a×")  # noqa: RUF001
    assert lines[17].strip() == "learning rate"
    assert lines[19:] == [
        "a full", "* several", "° selected", "× some trials diverged or failed", "",  # noqa: RUF001
        "mean of 1 to 2 seeds (mean-range); a", "trial that diverged or failed counts as", "0",
    ]  # fmt: skip


def test_a_map_has_a_bar_and_a_number_for_each_cell(store):
    lines = draw_text("heatmap", figure_data("heatmap", store), 60).split("\n\n")[0].splitlines()
    numbers = {line.split()[-1]: line.count("█") for line in lines}
    assert set(numbers) == {"0.00", "0.50", "1.00"}
    assert numbers["0.00"] == 0
    assert numbers["1.00"] == pytest.approx(2 * numbers["0.50"], abs=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [1, 40, 80])
def test_a_figure_is_as_wide_as_the_terminal_at_most(store, kind, columns):
    if kind == "training":
        with SweepWriter(store, "drawn") as writer:
            writer.append([pair(cell("full", m=2), seed=5)])
    data: pa.Table = figure_data(kind, store)
    widest = max(map(len, draw_text(kind, data, columns).splitlines()))
    assert widest <= max(columns, 60 if kind in ("heatmap", "cost") else 40)


def test_the_command_draws_on_the_terminal(store):
    result = CliRunner().invoke(app, ["plot", "cost", "--terminal", "--store", str(store)])
    bars, note = result.stdout.split("\n\n")
    assert [line.split()[0] for line in bars.splitlines()] == ["full", "cp", "lstm"]
    assert note.split() == ["beside", "each", "bar", "the", "number", "of", "trials", "and", "their", "mean", "time"]
