"""The report page as a file: what is in it, that it needs nothing else, and that nothing in it runs but its scripts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bilin.cli.results import app
from bilin.errors import QueryError, StoreError
from bilin.orchestrator import ClusterSpec, launch, plan
from bilin.results import SweepWriter, WantedRow, figure_data, query, report
from bilin.results.reports.data import thinned
from bilin.results.reports.standing import standings
from tests.results.reported import ATTACKS, attacking_store
from tests.results.samples import cell, failed, pair

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The elements of a page: each its name and attributes, with the text directly in it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br", "input"):
            self._open.append(len(self.elements))
        self.elements.append((tag, dict(attrs), []))

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self._open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.elements[self._open[-1]][2].append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        """The texts of all elements of a name that have some attributes."""
        return ["".join(text) for name, its, text in self.elements if name == tag and attributes.items() <= its.items()]

    @property
    def text(self) -> str:
        return " ".join("".join(text) for name, _, text in self.elements if name not in ("script", "style"))

    def payload(self, name: str) -> Any:
        (text,) = self.texts("script", id=f"data-{name}")
        return json.loads(gzip.decompress(base64.b64decode(text)))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a table of data."""
        columns = {}
        for column in self.payload(name)["table"]["columns"]:
            values = column.get("values")
            numbers = column.get("numbers")
            columns[column["name"]] = numbers or [None if code < 0 else values[code] for code in column["codes"]]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return attacking_store(tmp_path_factory.mktemp("reported") / "store")


@pytest.fixture(scope="module")
def page(store):
    return Page(report(store))


def test_trials_are_those_of_the_store(page, store):
    rows = page.rows("trials")
    stored = query(store=store, view="trials").to_pylist()
    assert {row["trial_id"]: (row["lr"], row["status"], row["error"]) for row in rows} == {
        row["trial_id"]: (row["lr"], row["status"], row["error"]) for row in stored
    }
    lengths = query(
        "SELECT trial_id, accuracy_scaled AS score FROM lengths WHERE length = 500", store=store
    ).to_pylist()
    scores = {row["trial_id"]: float(f"{row['score']:.5g}") for row in lengths}
    assert {row["trial_id"]: row["accuracy_scaled@500"] for row in rows if row["status"] == "done"} == scores


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("length", "length", None),
        ("heatmap", "heatmap", None),
        ("lr", "lr", None),
        ("training-loss", "training", "loss"),
    ],
)
def test_figures_have_the_numbers_of_the_plot(page, store, name, kind, value):
    rows, numbers = page.rows(f"figure-{name}"), figure_data(kind, store, value=value).to_pylist()
    assert [(row["model"], row["value"]) for row in rows] == [
        (row["model"], None if row["value"] is None else float(f"{row['value']:.5g}")) for row in numbers
    ]


def test_a_tier_has_the_look_of_every_figure(page):
    looks = page.payload("figure-length")["looks"]
    assert looks["full"] == {"colour": "#0072b2", "dash": [], "marker": "o"}
    assert [looks[f"cp rank={rank}"]["marker"] for rank in (4, 16)] == ["s", "s"]


def test_a_long_curve_loses_points_but_not_its_end(tmp_path):
    with SweepWriter(tmp_path, "drawn") as writer:
        writer.append([pair(curve=9), pair(cell("lstm"), curve=4)])
    rows = thinned(figure_data("training", tmp_path), max_points=4).to_pylist()
    assert [(row["model"], row["step"]) for row in rows] == [
        *(("full", 250 * step) for step in (0, 4, 8)), *(("lstm", 250 * step) for step in (0, 3)),
    ]  # fmt: skip


def test_selected_rates_say_when_they_are_at_an_edge(page):
    rows = {row["model"]: row for row in page.rows("choices")}
    assert [(row["selected"], row["selected is"], row["rates tried"]) for row in rows.values()] == [
        (0.001, "lowest", 2), (0.001, "lowest", 2), (0.001, "lowest", 2), (0.001, "the only one", 1),
    ]  # fmt: skip
    assert rows["lstm"]["diverged or failed"] == len(ATTACKS)


def test_it_says_which_sweep_is_not_complete_and_why(page):
    (warning,) = page.texts("p", **{"class": "warning"})[:1]
    assert warning.endswith(" 1 of 6 trials not run yet; 4 trials failed.")
    assert [text for text in page.texts("strong") if "complete" in text] == ["bad is not complete:"]
    assert {"complete", "12 done", "incomplete", "1 done, 4 failed"} <= {*page.texts("td")}


def test_failures_are_grouped_with_their_commands(page, store):
    summaries = page.texts("summary")
    assert all(f"1 failed: {error}" in summaries for error in ATTACKS)
    failed_ids = [row["trial_id"] for row in query(store=store, view="trials", where="status = 'failed'").to_pylist()]
    shown = "".join(page.texts("pre"))
    assert all(f"bilin sweep show {trial_id} --sweep bad --store {store}\n" in shown for trial_id in failed_ids)


def test_nothing_is_loaded_or_run_but_its_own_scripts_and_styles(store):
    text = report(store)
    page = Page(text)
    scripts = [(its, "".join(script)) for name, its, script in page.elements if name == "script"]
    (script,) = [script for its, script in scripts if "type" not in its]
    assert {its["type"] for its, _ in scripts if "type" in its} == {"application/octet-stream"}
    (style,) = page.texts("style")
    sources = [
        f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in (script, style)
    ]
    (policy,) = [its["content"] for name, its, _ in page.elements if its.get("http-equiv") == "Content-Security-Policy"]
    assert policy == (
        f"default-src 'none'; script-src {sources[0]}; style-src {sources[1]}; base-uri 'none'; form-action 'none'"
    )
    attributes = {name for _, its, _ in page.elements for name in its}
    assert not {name for name in attributes if name.startswith("on") or name in ("src", "style", "srcset")}
    assert all(its["href"].startswith("#") for _, its, _ in page.elements if "href" in its)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|https?:(?!//www\.w3\.org/2000/svg)", script
    )
    assert "url(" not in style
    assert "@import" not in style


def test_names_and_errors_of_trials_are_texts(page):
    assert {name for name, _, _ in page.elements} <= {
        "html", "head", "meta", "title", "style", "body", "a", "header", "h1", "h2", "h3", "p", "nav", "ul", "li",
        "main", "strong", "noscript", "section", "div", "table", "thead", "tbody", "tr", "th", "td", "br", "details",
        "summary", "pre", "code", "button", "script",
    }  # fmt: skip
    assert page.texts("td").count(ATTACKS[0]) == 1  # a name of a processor
    assert ATTACKS[1] in "".join(page.texts("td"))
    assert len([text for text in page.texts("pre") if any(f"Traceback\n{error}" in text for error in ATTACKS)]) == 4


GRID = """
name: tiny
tasks: [{name: parity}]
models: [{tier: real_diagonal, hidden: 4, embedding: 4}]
train: {steps: 4}
validate: {every: 2, lengths: [20], num_sequences: 8}
test: {lengths: [10, 30], num_sequences: 8}
learning_rate: {choices: [1e-2]}
seeds: [0, 1]
"""


def test_it_says_that_no_trial_has_run_or_that_all_failed(tmp_path):
    with SweepWriter(tmp_path / "a", "begun") as writer:
        writer.write_wanted([wanted()])
    page = Page(report(tmp_path / "a"))
    assert page.texts("strong") == ["begun is not complete:"]
    assert page.texts("p").count("No trial has run yet.") == 3
    assert page.texts("h3") == ["begun"]
    with SweepWriter(tmp_path / "b", "ended") as writer:
        writer.append([failed(), failed(seed=1, status="diverged")])
        writer.write_wanted([wanted(seeds=(0, 1))])
    page = Page(report(tmp_path / "b"))
    assert page.texts("strong") == ["ended is complete, but some trials failed:"]
    assert page.texts("h3")[:2] == ["Models by tasks", "Learning rates"]


def test_its_grid_and_commands_repeat_the_sweep(tmp_path):
    (tmp_path / "grid.yaml").write_text(GRID)
    store = tmp_path / "store"
    launch(tmp_path / "grid.yaml", store=store, cluster=ClusterSpec(kind="inline"))
    page = Page(report(store))
    commands, grid = page.texts("pre")
    assert commands.splitlines()[0] == "bilin sweep launch tiny.json"
    (tmp_path / "tiny.json").write_text(grid)
    again = plan(tmp_path / "tiny.json", store=store)
    assert (again.num_to_run, again.num_done) == (0, 2)
    assert "complete" in page.texts("td")
    assert page.texts("p", **{"class": "warning"})[1:] == []  # the one without scripts


def wanted(**given):
    values = {"cell_id": cell().cell_id, "lrs": (1e-3,), "seeds": (0,), "num_trials": 4, "test_lengths": (10, 500)}
    return WantedRow(**{**values, "num_sequences": 2048, **given})


def test_a_sweep_with_a_pruner_that_was_stopped_is_not_complete(tmp_path):
    with SweepWriter(tmp_path, "one") as writer:
        writer.append([failed(status="pruned"), failed(seed=1, status="pruned")])
        writer.write_wanted([wanted(seeds=(0, 1))])
    (found,) = standings(tmp_path, ["one"])
    assert (found.state, found.warning) == ("incomplete", "1 cell in which no trial has run to its end")
    with SweepWriter(tmp_path, "one") as writer:
        writer.append([pair()])
    assert [each.state for each in standings(tmp_path, ["one"])] == ["complete"]
    (found,) = standings(tmp_path, ["one"], {"one": 1})  # the plan knows that the other trial goes on
    assert (found.state, found.warning) == ("incomplete", "1 trial still to run")


@pytest.mark.parametrize(
    ("row", "state", "warning"),
    [
        (wanted(), "complete", ""),
        (wanted(seeds=(0, 1, 2)), "incomplete", "2 of 3 trials not run yet"),
        (
            wanted(lrs=None, lr_low=1e-4, lr_high=1e-2),
            "incomplete",
            "learning rates of 1 cell still being searched",
        ),
        (wanted(test_lengths=(10, 1000)), "incomplete", "1 trial at a selected rate not tested at every length"),
        (None, "incomplete", "no grid is stored, so it is not known which trials are missing"),
    ],
)
def test_a_sweep_is_complete_if_every_trial_that_its_grid_wants_has_a_result(tmp_path, row, state, warning):
    with SweepWriter(tmp_path, "one") as writer:
        writer.append([pair()])
        if row:
            writer.write_wanted([row])
    (found,) = standings(tmp_path, ["one"])
    assert (found.state, found.warning) == (state, warning)


def test_a_lost_trial_has_not_run_and_a_failed_one_has_failed(tmp_path):
    with SweepWriter(tmp_path, "one") as writer:
        writer.append([pair(), failed(seed=1, status="lost"), failed(seed=2)])
        writer.write_wanted([wanted(seeds=(0, 1, 2))])
        (found,) = standings(tmp_path, ["one"])
        assert found.state == "running"
        assert found.warning.startswith("it was still running when this page was written")
    (found,) = standings(tmp_path, ["one"])
    assert (found.state, found.warning) == ("incomplete", "1 of 3 trials not run yet; 1 trial failed")


def test_sweeps_are_selected_by_name(store, tmp_path):
    output = tmp_path / "page.html"
    result = CliRunner().invoke(app, ["report", "good", "-o", str(output), "--store", str(store), "--stat", "mean-std"])
    assert result.exit_code == 0
    assert f"written to {output}" in result.stderr
    page = Page(output.read_text())
    assert page.texts("title") == ["Results: good"]
    assert "(mean-std)" in page.text
    assert page.payload("trials")["table"]["numRows"] == 12
    assert "No trial failed." in page.texts("p")


def test_what_cannot_be_shown_is_refused(store, tmp_path):
    with pytest.raises(StoreError, match="no sweep 'better' in the store"):
        report(store, ["better"])
    with pytest.raises(QueryError, match="no statistic 'middle'"):
        report(store, stat="middle")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="has no sweep yet"):
        report(tmp_path / "empty")
    result = CliRunner().invoke(app, ["report", "-o", "page.txt", "--store", str(store)])
    assert "accepted: names that end in .html" in str(result.exception)


def test_every_file_of_the_package_is_in_a_wheel():
    import tomllib

    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["bilin"]
    files = [path.relative_to(ROOT / "bilin") for path in (ROOT / "bilin").rglob("*.*") if path.is_file()]
    others = [str(path) for path in files if path.suffix not in (".py", ".pyc")]
    assert [name for name in others if not any(fnmatch(name, pattern) for pattern in patterns)] == []
