"""Figures: the numbers behind each, what is drawn of them, and how they are saved."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from typer.testing import CliRunner

from bilin.cli.results import app
from bilin.errors import InputError, QueryError
from bilin.models import MODELS
from bilin.record import Curve, CurvePoint, LengthResult
from bilin.results import SweepWriter, WantedRow, fields_json, figure_data, plot, save_figure
from bilin.results.figures.looks import look
from bilin.results.figures.plot import KINDS
from bilin.results.figures.style import WIDTHS_IN
from tests.results.samples import ENVIRONMENT, cell, failed, pair

MODELS_DRAWN = [cell("full"), cell("cp", rank=4), cell("cp", rank=16), cell("lstm")]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Four models at two rates and two seeds, one of which is lost at the higher rate, on two tasks."""
    store = tmp_path_factory.mktemp("drawn") / "store"
    skill = {"full": 1.0, "cp": 0.6, "lstm": 0.4}
    gpu = dataclasses.replace(ENVIRONMENT, device="cuda:0")
    pairs = []
    for of in [*MODELS_DRAWN, *(dataclasses.replace(each, task=cell(m=2).task) for each in MODELS_DRAWN)]:
        for seed in (0, 1):
            score = skill[of.model.tier] + getattr(of.model, "rank", 0) / 100 - 0.1 * seed * (of.model.tier != "full")
            lengths = [LengthResult(at, round(2000 * score), 2000, of.task.num_classes) for at in (10, 100, 500)]
            found: dict[str, Any] = {"accuracy": score, "lengths": tuple(lengths), "wall_s": 1800.0}
            pairs.append(pair(of, lr=1e-3, seed=seed, environment=gpu if seed else ENVIRONMENT, **found))
            if seed or of.model.tier != "lstm":
                pairs.append(pair(of, lr=1e-2, seed=seed, **{**found, "accuracy": score - 0.2, "wall_s": 1800.0}))
            else:
                pairs.append(failed(of, lr=1e-2, seed=seed, status="diverged", wall_s=1800.0))
    with SweepWriter(store, "drawn") as writer:
        writer.append(pairs)
    return store


def lines(panel):
    """The lines of a panel that the legend names, by their labels."""
    return {line.get_label(): line for line in panel.lines if not line.get_label().startswith("_")}


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


LABELS = ["full", "cp rank=4", "cp rank=16", "lstm"]


def test_accuracy_by_length_has_a_line_for_each_model_and_shaded_training_lengths(store):
    figure = plot("length", store)
    assert [panel.get_title() for panel in figure.axes] == ["modular addition m=2", "modular addition m=5"]
    panel = figure.axes[1]
    assert list(lines(panel)) == [*LABELS, "chance"]
    assert set(lines(panel)["chance"].get_ydata()) == {0}
    line = lines(panel)["cp rank=4"]
    scaled = [(0.64 - 0.2) / 0.8, (0.54 - 0.2) / 0.8]
    assert list(line.get_xdata()) == [10, 100, 500]
    assert list(line.get_ydata()) == pytest.approx([sum(scaled) / 2] * 3)
    band = panel.collections[1].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((scaled[1], scaled[0]))
    shade: Any = panel.patches[0]
    assert (shade.get_x(), shade.get_width()) == (2, 8)
    assert texts(figure) == [*LABELS, "training lengths", "chance"]
    assert panel.get_xscale() == "log"
    assert [text.get_text() for text in panel.get_xticklabels()] == ["10", "100", "500"]
    assert (panel.get_xlabel(), figure.axes[0].get_ylabel()) == ("length", "scaled accuracy")
    assert panel.get_ylim()[0] < 0 < 1 < panel.get_ylim()[1]


def test_learning_rates_show_the_selected_and_the_lost(store):
    figure = plot("lr", store, where="m = 5")
    (panel,) = figure.axes
    assert list(lines(panel)["lstm"].get_ydata()) == pytest.approx([0.35, 0.05])  # a lost trial counts as 0
    drawn: list[Any] = list(panel.lines)
    found = [(line.get_marker(), line.get_markersize(), list(line.get_xdata())) for line in drawn]
    assert [xs for _, size, xs in found if size == 8 and xs] == [[1e-3]] * 4
    assert [xs for marker, _, xs in found if marker == "x" and xs] == [[1e-2]]
    assert texts(figure)[-3:] == ["chance", "selected", "some trials diverged or failed"]
    assert set(lines(panel)["chance"].get_ydata()) == {0.2}
    assert figure_data("lr", store, where="tier = 'lstm' AND m = 5")["num_lost"].to_pylist() == [0, 1]


def test_accuracy_by_size_has_a_line_for_each_tier_and_level_lines_for_those_without(store):
    figure = plot("size", store, where="m = 5")
    (panel,) = figure.axes
    drawn = lines(panel)
    assert list(drawn["cp"].get_xdata()) == [4, 16]
    assert set(drawn["full"].get_ydata()) == {1.0}
    assert drawn["full"].get_marker() == ""
    assert panel.get_xlabel() == "rank"
    assert [text.get_text() for text in panel.get_xticklabels()] == ["4", "16"]


def test_training_curves_hold_the_last_value_of_a_seed_that_ended(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([pair(seed=0, curve=1), pair(seed=1, curve=3)])  # evaluations at 0, and at 0, 250 and 500
    assert figure_data("training", tmp_path, value="loss").select(["step", "value", "num_seeds"]).to_pylist() == [
        {"step": 0, "value": 1.0, "num_seeds": 2},
        {"step": 250, "value": 0.75, "num_seeds": 2},
        {"step": 500, "value": pytest.approx(2 / 3), "num_seeds": 2},
    ]
    (panel,) = plot("training", tmp_path, value="loss").axes
    assert list(lines(panel)["full"].get_xdata()) == [0, 250, 500]
    assert panel.get_ylabel() == "training loss"


def test_training_curves_of_a_sweep_are_those_at_the_rate_selected_in_it(tmp_path):
    rates = {1e-3: 0.9, 1e-2: 0.5}
    for sweep, lrs in (("both", (1e-3, 1e-2)), ("high", (1e-2,))):
        with SweepWriter(tmp_path, sweep) as writer:
            writer.append([pair(lr=lr, accuracy=rates[lr], curve=1) for lr in lrs])
    points = figure_data("training", tmp_path).select(["sweep", "value", "num_seeds"]).to_pylist()
    assert points == [
        {"sweep": "both", "value": 0.9, "num_seeds": 1},
        {"sweep": "high", "value": 0.5, "num_seeds": 1},
    ]


def test_a_loss_that_is_not_finite_is_left_out(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        spec, result = pair()
        curve = (CurvePoint(0, None, 2.0, 0.5), CurvePoint(10, None, float("inf"), 0.5))
        writer.append([(spec, dataclasses.replace(result, curve=Curve.of(curve)))])
    assert figure_data("training", tmp_path, value="loss")["value"].to_pylist() == [2.0, None]
    assert list(lines(plot("training", tmp_path, value="loss").axes[0])["full"].get_xdata()) == [0]


def test_a_heat_map_has_the_number_in_each_cell_and_marks_what_is_missing(tmp_path):
    lost, missing = cell("lstm", m=2), cell("lstm", m=5)
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([pair(cell("full", m=2)), pair(cell("full", m=5), accuracy=0.6), failed(lost)])
        wanted: dict[str, Any] = {
            "lrs": (1e-3,),
            "seeds": (0,),
            "num_trials": 1,
            "test_lengths": (500,),
            "num_sequences": 2048,
        }
        cells = [cell("full", m=2), cell("full", m=5), lost, missing]
        writer.write_wanted([WantedRow(cell_id=of.cell_id, **wanted) for of in cells])
    panel, bar = plot("heatmap", tmp_path).axes
    assert [text.get_text() for text in panel.texts] == ["1.00", "0.50", "×"]  # noqa: RUF001
    assert [to_hex(text.get_color()) for text in panel.texts[:2]] == ["#000000", "#ffffff"]
    (hatched,) = panel.collections
    assert hatched.get_hatch() == "////"
    assert panel.images[0].get_cmap().name == "cividis"
    assert panel.images[0].get_clim() == (0, 1)
    assert [text.get_text() for text in panel.get_xticklabels()] == ["m=2", "m=5"]
    assert [text.get_text() for text in panel.get_yticklabels()] == ["full", "lstm"]
    assert panel.get_title() == "modular addition, length 500"
    assert bar.get_ylabel() == "scaled accuracy"


def test_cost_adds_up_the_time_of_each_tier(store):
    assert figure_data("cost", store).to_pylist() == [
        {"tier": "full", "num_trials": 8, "hours": 4.0, "gpu_hours": 1.0},
        {"tier": "cp", "num_trials": 16, "hours": 8.0, "gpu_hours": 2.0},
        {"tier": "lstm", "num_trials": 8, "hours": 4.0, "gpu_hours": 1.0},
    ]
    (panel,) = plot("cost", store).axes
    bars: list[Any] = list(panel.patches)
    assert [bar.get_width() for bar in bars] == [3, 6, 3, 1, 2, 1]
    assert [text.get_text().strip() for text in panel.texts] == ["8 × 30 min", "16 × 30 min", "8 × 30 min"]  # noqa: RUF001


def test_cost_counts_a_result_that_sweeps_share_once(tmp_path):
    for sweep, seeds in (("one", (0,)), ("other", (0, 1))):
        with SweepWriter(tmp_path, sweep) as writer:
            writer.append([pair(seed=seed, wall_s=3600.0) for seed in seeds])
    with SweepWriter(tmp_path, "again") as writer:
        writer.append([pair(seed=0, wall_s=3600.0, started_at=1_800_000_000.0, finished_at=1_800_003_600.0)])
    assert figure_data("cost", tmp_path).to_pylist() == [
        {"tier": "full", "num_trials": 3, "hours": 3.0, "gpu_hours": 0.0}
    ]


def test_a_size_of_zero_makes_the_axis_linear(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([pair(cell("cp", rank=rank), recurrent_params=100 * rank - 400) for rank in (4, 8)])
    (panel,) = plot("size", tmp_path, x="recurrent_params").axes
    assert panel.get_xscale() == "linear"
    assert [text.get_text() for text in panel.get_xticklabels()] == ["0", "400"]


def test_a_tier_has_one_look_of_its_own():
    looks = {tier: look(tier)[:2] for tier in MODELS}
    assert len(set(looks.values())) == len(MODELS)
    okabe_ito = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}
    assert {colour for colour, _ in looks.values()} == okabe_ito
    assert look("of_another_package") == look("of_another_package")


def test_a_line_that_another_covers_is_wider(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([pair(cell("full")), pair(cell("elman")), pair(cell("lstm"), accuracy=0.5)])
    drawn = lines(plot("length", tmp_path).axes[0])
    assert drawn["full"].get_linewidth() > drawn["elman"].get_linewidth() == drawn["lstm"].get_linewidth()
    assert drawn["full"].get_markersize() > drawn["elman"].get_markersize()


def test_an_axis_has_room_for_what_is_worse_than_chance(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([pair(cell("full"), accuracy=0.0)])
    panel = plot("length", tmp_path).axes[0]
    assert panel.get_ylim()[0] < min(lines(panel)["full"].get_ydata()) < -0.1


def test_panels_share_the_values_of_all_tasks_and_have_room_for_whole_bands(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        for m, length in ((2, 50), (3, 400)):
            tested = [(LengthResult(length, num_correct, 9, m),) for num_correct in (0, 9)]
            writer.append([pair(cell("full", m=m), seed=seed, lengths=tested[seed]) for seed in (0, 1)])
    panels = plot("length", tmp_path).axes
    assert [[text.get_text() for text in panel.get_xticklabels()] for panel in panels] == [["50", "400"]] * 2
    assert panels[0].get_ylim()[0] < -1 == min(figure_data("length", tmp_path)["low"].to_pylist())


@pytest.mark.parametrize("kind", KINDS)
def test_a_tier_keeps_its_look_in_every_figure(store, kind):
    for panel in plot(kind, store).axes:
        for label, line in lines(panel).items():
            if label in ("full", "lstm"):
                assert to_hex(line.get_color()) == look(label).colour


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", WIDTHS_IN)
def test_nothing_is_cut_off_or_below_the_legend(store, kind, width):
    figure = plot(kind, store, width=width)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    edge = figure.bbox.padded(1)
    parts = [part for panel in figure.axes for part in (panel.title, panel.xaxis, panel.yaxis)]
    parts += figure.texts
    boxes = [box for part in parts if (box := part.get_tightbbox(renderer)) is not None and box.width > 0]
    legends = [legend.get_window_extent(renderer) for legend in figure.legends]
    assert all(edge.contains(*corner) for box in [*boxes, *legends] for corner in (box.min, box.max))
    assert not any(legend.overlaps(box) for legend in legends for box in boxes)
    assert figure.get_figwidth() == WIDTHS_IN[width]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_figure_is_saved_with_the_same_bytes_twice(store, tmp_path, ending):
    written = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}.{ending}"
        save_figure(plot("length", store), path)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert written[0].startswith(starts[ending])


def test_fonts_in_a_pdf_are_truetype(store, tmp_path):
    save_figure(plot("cost", store), tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    assert re.findall(rb"/Subtype /Type3\b", content) == []
    assert b"/FontFile2" in content


def test_a_figure_can_be_changed_and_shows_itself_in_a_notebook(store):
    figure: Any = plot("cost", store)
    figure.axes[0].set_title("mine")
    assert figure._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("lengths", {}, r"no figure 'lengths' \(did you mean length\?\); accepted: length, heatmap"),
        ("spectrum", {}, "a spectrum is of one trial"),
        ("length", {"stat": "mode"}, "no statistic 'mode'"),
        ("length", {"width": "wide"}, "no width 'wide'; accepted: column, text, page, or 1 to 40 inches"),
        (
            "length",
            {"where": "m = 77"},
            "nothing to draw: no cell of .*store meets 'm = 77'; `bilin results query --view cells` ",
        ),
        ("lr", {"where": "m = 77"}, "nothing to draw: no trial of .* meets 'm = 77'; `.* --view trials` shows "),
        ("length", {"x": "rank"}, "x is for the figure size; found length"),
        ("training", {"value": "steps"}, "no value 'steps'; accepted: accuracy, loss"),
        ("size", {"x": "rnk"}, r"found the field 'rnk' \(did you mean rank\?\); accepted for the horizontal axis: "),
        ("size", {"x": "tier"}, "found the field 'tier'.*; accepted for the horizontal axis: "),
        ("size", {"where": "tier = 'full'"}, "found no rank, block size or hidden size that varies"),
        ("size", {"x": "hidden"}, "have the same hidden: select cells with a condition"),
    ],
)
def test_what_cannot_be_drawn_is_said(store, kind, arguments, message):
    with pytest.raises(QueryError, match=message):
        plot(kind, store, **arguments)


def test_a_store_without_numbers_has_nothing_to_draw(tmp_path):
    with pytest.raises(QueryError, match=r"no trial is stored in .*; run a sweep with `bilin sweep launch`"):
        plot("cost", tmp_path)
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([failed()])
        writer.write_wanted([_wanted(cell())])
    message = "the cells of the sweep drawn have no number: their trials have not ended, or diverged or failed; see "
    for kind in ("length", "size"):
        with pytest.raises(QueryError, match=message):
            plot(kind, tmp_path, sweep="drawn", x="hidden" if kind == "size" else None)
    with pytest.raises(QueryError, match="no trial of the sweep drawn has a curve"):
        plot("training", tmp_path, sweep="drawn")


def note(figure):
    return " ".join(figure.texts[-1].get_text().split())


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        ("length", {}, "mean of 2 seeds, band: the lowest and highest (mean-range)"),
        ("length", {"stat": "mean-se"}, "mean of 2 seeds, band: ± the standard error (mean-se)"),
        ("length", {"stat": "best"}, "best of 2 seeds (best)"),
        ("heatmap", {}, "mean of 2 seeds (mean-range)"),
        (
            "lr",
            {},
            "mean of 2 seeds, band: the lowest and highest (mean-range); a trial that diverged or failed counts as 0",
        ),
        ("size", {"where": "m = 5"}, "length 500; mean of 2 seeds, band: the lowest and highest (mean-range)"),
        (
            "training",
            {},
            "at the selected learning rate; mean of 2 seeds, band: the lowest and highest (mean-range); "
            "a seed that ended keeps its last value",
        ),
        ("cost", {}, "beside each bar the number of trials and their mean time"),
    ],
)
def test_below_a_figure_is_what_its_band_and_marks_are(store, kind, arguments, expected):
    assert note(plot(kind, store, **arguments)) == expected


def test_the_note_says_which_models_have_no_line_and_how_seeds_differ(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        models = [cell("full"), cell("elman"), cell("lstm")]
        writer.append([pair(models[0], seed=0), pair(models[0], seed=1), pair(models[1]), failed(models[2])])
        writer.write_wanted([dataclasses.replace(_wanted(of), seeds=(0, 1)) for of in models])
    figure = plot("length", tmp_path)
    assert note(figure) == "mean of 1 to 2 seeds, band: the lowest and highest (mean-range); no result: lstm"
    assert "lstm" not in texts(figure)


def test_a_legend_of_long_texts_has_two_columns_in_the_order_of_the_tiers(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        for m in (2, 3):
            models: Any = [("lstm", {}), ("cp", {"rank": 4}), ("full", {})][: 2 if m == 2 else 3]
            sizes: Any = [{"hidden": 16, "embedding": 24}, {"hidden": 32, "embedding": 48}]
            writer.append([pair(cell(tier, m=m, **of, **size)) for tier, of in models for size in sizes])
    figure = plot("length", tmp_path, width="column")
    shown = texts(figure)
    assert [text.split()[0] for text in shown[:6]] == ["full", "full", "cp", "cp", "lstm", "lstm"]
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    lefts = {round(text.get_window_extent().x0) for text in figure.legends[0].get_texts()}
    assert len(lefts) == 2
    assert all("\n" in text for text in shown[2:4])


def test_chance_is_drawn_in_curves_of_accuracy_but_not_of_losses(store):
    for value, labels in (("accuracy", {"chance"}), ("loss", set())):
        figure = plot("training", store, value=value)
        assert labels == {"chance"}.intersection(*map(lines, figure.axes))
    assert set(lines(plot("training", store).axes[0])["chance"].get_ydata()) == {0.5}
    assert figure_data("training", store, where="m = 5")["chance"].unique().to_pylist() == [0.2]


def test_short_times_are_in_seconds(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([pair(wall_s=1.5), pair(seed=1, wall_s=2.5)])
    (panel,) = plot("cost", tmp_path).axes
    assert panel.get_xlabel() == "seconds (trials × mean time)"  # noqa: RUF001
    bars: list[Any] = list(panel.patches)
    assert [bar.get_width() for bar in bars] == pytest.approx([4])


def test_a_cell_that_has_not_run_is_hatched_in_a_map(tmp_path):
    ran, waiting = cell("full", m=2), cell("cp", m=3, rank=8)
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([pair(ran)])
        writer.write_wanted([_wanted(ran), _wanted(waiting)])
    figure = plot("heatmap", tmp_path)
    panel = figure.axes[0]
    assert [text.get_text() for text in panel.get_yticklabels()] == ["full", "cp rank=8"]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["m=2", "m=3"]
    assert [patch.get_hatch() for patch in panel.collections] == ["////"] * 3
    assert note(figure) == "one seed; hatched: no result"


def test_long_names_of_models_in_a_map_are_broken(tmp_path):
    sizes: list[Any] = [{"hidden": 16, "embedding": 24}, {"hidden": 32, "embedding": 48, "additive": True}]
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([pair(cell("cp", rank=4, **size)) for size in sizes])
    figure = plot("heatmap", tmp_path, width="column")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    labels = figure.axes[0].get_yticklabels()
    assert all("\n" in text.get_text() for text in labels)
    assert all(text.get_window_extent().x0 >= 0 for text in labels)


def _wanted(of):
    return WantedRow(
        cell_id=of.cell_id, lrs=(1e-3,), seeds=(0,), num_trials=1, test_lengths=(10, 500), num_sequences=2048,
        fields=fields_json(of),
    )  # fmt: skip


def test_without_matplotlib_a_figure_says_how_to_get_it(store):
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from bilin import errors, results\n"
        "try: results.plot('cost', sys.argv[1])\n"
        "except errors.InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store)], capture_output=True, text=True)
    assert done.stdout.startswith("figures need matplotlib: pip install 'bilin[plot]'")


def test_a_file_must_say_which_picture_it_is(store, tmp_path):
    with pytest.raises(InputError, match=r"accepted: names that end in \.png, \.svg, \.pdf"):
        save_figure(plot("cost", store), tmp_path / "a.jpg")


def test_the_command_writes_the_picture_and_its_numbers(store, tmp_path):
    picture, numbers = tmp_path / "a.svg", tmp_path / "a.csv"
    arguments = ["plot", "cost", "-o", str(picture), "--data", str(numbers), "--store", str(store)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert picture.read_text().startswith("<?xml")
    assert numbers.read_text().splitlines()[0] == "tier,num_trials,hours,gpu_hours"
    refused = CliRunner().invoke(app, ["plot", "cost", "--store", str(store)])
    assert "say where to draw" in str(refused.exception)
    refused = CliRunner().invoke(app, ["plot", "costs", "--store", str(store)])
    assert "no figure 'costs' (did you mean cost?)" in str(refused.exception)


def test_no_other_command_imports_matplotlib(store):
    code = (
        "import sys; from bilin.cli.results import app; app(['table', '--store', sys.argv[1]], standalone_mode=False); "
        "from bilin import results; results.figure_data('length', sys.argv[1]); assert 'matplotlib' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code, str(store)], capture_output=True).returncode == 0
