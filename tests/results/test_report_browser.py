"""The report page in a browser: figures, tables, keys, screens, and attacks. The browser is Debian's Chromium.

With BILIN_SCREENSHOTS=FOLDER, pictures of the page are written there.
"""

from __future__ import annotations

import importlib.resources
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from bilin.results import figure_data, query, report
from tests.results.reported import ATTACKS, attacking_store, large_store

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
HAS_ALL = bool(os.environ.get("BILIN_TEST_EVERYTHING"))

if not HAS_ALL:
    pytest.importorskip("playwright.sync_api", exc_type=ImportError)
    pytest.importorskip("axe_playwright_python")

pytestmark = pytest.mark.skipif(CHROMIUM is None and not HAS_ALL, reason="needs Chromium")

DRAW = "Promise.all([...places].filter((place) => !place.closest('details')).map(draw))"
"""Draws every figure and table that is not folded; `places` and `draw` are of page.js."""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    path: Path = folder / "report.html"
    path.write_text(report(attacking_store(folder / "store")))
    return path


@pytest.fixture
def visit(browser, page_file):
    """Opens a page with everything drawn. In the end, it must have printed no error and run nothing of a trial."""
    opened, errors = [], []

    def open_page(path: Path = page_file, **options: Any) -> Any:
        page = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **options}).new_page()
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: errors.append(request.url) if request.url != path.as_uri() else None)
        page.goto(path.as_uri())
        page.evaluate(DRAW)
        opened.append(page)
        return page

    yield open_page
    assert errors == []
    for page in opened:
        assert page.evaluate("window.hit") is None
        page.context.close()


def texts(page, selector):
    return [text.strip() for text in page.locator(selector).all_text_contents()]


def picture(page, name):
    if folder := os.environ.get("BILIN_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"report-{name}.png", full_page=True)


def column(page, name):
    """The texts of a column of the trials that are in view."""
    index = texts(page, "#trials thead button").index(name)
    return texts(page, f"#trials tbody tr[aria-rowindex] td:nth-child({index + 1})")


def test_a_click_on_a_heading_sorts_in_both_directions_with_missing_values_last(visit):
    page = visit()
    button = page.locator("#trials thead button", has_text="accuracy_scaled@500")
    button.click()
    assert page.locator("#trials th[aria-sort]").get_attribute("aria-sort") == "ascending"
    ascending = column(page, "accuracy_scaled@500 ▲")
    assert ascending == [*sorted(filter(None, ascending), key=float), *[""] * len(ATTACKS)]
    button.click()
    assert page.locator("#trials th[aria-sort]").get_attribute("aria-sort") == "descending"
    assert column(page, "accuracy_scaled@500 ▼") == [*filter(None, ascending[::-1]), *[""] * len(ATTACKS)]


def test_a_filter_takes_words_and_comparisons(visit):
    page = visit()
    counts = {}
    for words in (
        "tier=cp lr>0.001",
        "FAILED",
        'error="<script>window.hit = 1</script>"',
        "rank>=8 seed!=0",
        "no=where",
    ):
        page.locator("#trials input").fill(words)
        counts[words] = texts(page, "#trials .filter span")[0]
    assert list(counts.values()) == [f"{count} of 17 rows" for count in (4, 4, 1, 2, 0)]
    page.locator("#trials input").fill("")
    assert texts(page, "#trials .filter span") == ["17 of 17 rows"]


def test_pointing_at_a_line_shows_its_numbers(visit):
    page = visit()
    figure = page.locator("[data-figure=figure-length]")
    box = figure.locator("svg[role=img]").bounding_box()
    figure.locator("svg[role=img]").hover(position={"x": box["width"] * 0.95, "y": box["height"] * 0.1})
    assert texts(page, "[data-figure=figure-length] .tip") == ["lstm, length 500: 1, 1 seed"]
    assert figure.locator("path.line.dim").count() == 3


def test_a_button_of_the_legend_hides_its_line(visit):
    page = visit()
    figure = page.locator("[data-figure=figure-length]")
    lines = figure.locator("figure path.line")
    assert lines.count() == 4
    button = figure.locator("button[data-name='cp rank=4']")
    button.click()
    assert (lines.count(), button.get_attribute("aria-pressed")) == (3, "false")
    figure.locator("button", has_text="none").click()
    assert lines.count() == 0
    figure.locator("button", has_text="all").click()
    assert lines.count() == 4


def test_dragging_zooms_and_a_double_click_shows_all_again(visit):
    page = visit()
    svg = page.locator("[data-figure=figure-training-loss] svg[role=img]")
    svg.scroll_into_view_if_needed()
    before = texts(page, "[data-figure=figure-training-loss] figure text")
    box = svg.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60, steps=3)
    assert svg.locator(".zooming").count() == 1
    page.mouse.up()
    during = texts(page, "[data-figure=figure-training-loss] figure text")
    assert "0" in before[-6:]
    assert during != before
    svg.dblclick()
    assert texts(page, "[data-figure=figure-training-loss] figure text") == before


def test_the_keyboard_alone_reaches_everything(visit):
    page = visit()
    reached = []
    for _ in range(200):
        page.keyboard.press("Tab")
        name = page.evaluate("""() => {
            const at = document.activeElement;
            const place = at.closest("section[data-figure]")?.dataset.figure ?? at.closest("section")?.id ?? "";
            return [place, at.tagName.toLowerCase(), at.matches(":focus-visible")].join(" ");
        }""")
        if name in (" body true", " body false"):
            break
        reached.append(name)
    assert all(name.endswith("true") for name in reached)
    assert {"figure-length button true", "figure-length svg true", "figure-lr summary true"} <= {*reached}
    assert {"trials input true", "trials button true", "trials div true", "failures summary true"} <= {*reached}

    page.locator("[data-figure=figure-length] svg[role=img]").focus()
    page.keyboard.press("ArrowRight")
    first = texts(page, "#said")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert first[0].startswith("modular_addition m=5, full, length 10: ")
    assert texts(page, "#said")[0].startswith("modular_addition m=5, cp rank=4, length 500: ")
    for key, count in (("+", 2), ("0", 4)):  # the lines of two seeds of two lengths leave the picture, and come back
        page.keyboard.press(key)
        assert page.locator("[data-figure=figure-length] figure text").count() >= count
    page.keyboard.press("Escape")
    assert not page.locator("[data-figure=figure-length] .tip").is_visible()

    page.locator("#trials thead button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#trials th[aria-sort]").count() == 1


def test_folded_numbers_open_as_a_table(visit):
    page = visit()
    page.locator("[data-figure=figure-heatmap] summary").click()
    page.locator("[data-figure=figure-heatmap] .rows").wait_for()
    assert texts(page, "[data-figure=figure-heatmap] .filter span") == ["4 of 4 rows"]


def test_bars_are_as_long_as_the_computation_of_their_tiers(visit, page_file):
    page = visit()
    place = "[data-figure=figure-cost]"
    page.locator(place).scroll_into_view_if_needed()
    page.locator(f"{place} .bar").first.wait_for()
    widths = page.locator(f"{place} .bar").evaluate_all(
        "(bars) => bars.map((bar) => bar.getBoundingClientRect().width)"
    )
    hours = [row["hours"] for row in figure_data("cost", page_file.parent / "store").to_pylist()]
    assert widths == pytest.approx([max(2, hour / max(hours) * max(widths)) for hour in hours], abs=1)


def test_a_map_has_numbers_that_can_be_read_on_their_colours(visit):
    page = visit()
    cells = page.locator("[data-figure=figure-heatmap] .map td:not(:empty)")
    ratios = cells.evaluate_all("""(cells) => cells.map((cell) => {
        const luminance = (colour) => {
            const parts = colour.match(/\\d+/g).map((part) => part / 255);
            const linear = parts.map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
        };
        const { color, backgroundColor } = getComputedStyle(cell);
        const [high, low] = [color, backgroundColor].map(luminance).sort((a, b) => b - a);
        return (high + 0.05) / (low + 0.05);
    })""")
    assert len(ratios) == 4
    assert min(ratios) > 4.5


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {}),
        ("dark", {"color_scheme": "dark"}),
        ("narrow", {"viewport": {"width": 360, "height": 700}}),
    ],
)
def test_no_screen_breaks_a_rule_of_accessibility_or_scrolls_sideways(visit, name, options):
    page = visit(**options)
    page.locator("[data-figure=figure-lr] summary").click()
    page.locator("[data-figure=figure-lr] .rows").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate(importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    faults = [(each["id"], each["impact"], [node["html"][:200] for node in each["nodes"][:3]]) for each in found]
    assert faults == []
    picture(page, name)


def test_on_paper_everything_is_drawn_in_light_colours(browser, page_file):
    page = browser.new_context(color_scheme="dark").new_page()
    page.goto(page_file.as_uri())
    while not page.evaluate("[...places].every((place) => drawings.has(place))"):  # the page allows no eval of a string
        page.wait_for_timeout(50)
    shades = page.evaluate("[...document.querySelectorAll('.shade')].map((shade) => shade.width.baseVal.value)")
    assert shades
    assert min(shades) > 20, "the training lengths are shown whole"
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert page.pdf()[:5] == b"%PDF-"
    page.context.close()


def test_the_grid_can_be_saved(visit):
    page = visit()
    page.locator("#repeat summary").click()
    with page.expect_download() as saved:
        page.locator("button[data-save='good.json']").click()
    assert saved.value.suggested_filename == "good.json"
    assert Path(saved.value.path()).read_text().startswith('{"name": "good"')


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_trials_are_a_small_page_with_few_rows_at_a_time(visit, tmp_path):
    store = large_store(tmp_path / "store")
    path = tmp_path / "large.html"
    path.write_text(report(store))
    assert path.stat().st_size < 3e6
    page = visit(path)
    assert texts(page, "#trials .filter span") == ["10000 of 10000 rows"]
    assert page.locator("#trials tbody tr[aria-rowindex]").count() < 60
    page.locator("#trials input").fill("tier=cp rank>8 status=done")
    expected = query(store=store, view="trials", where="tier = 'cp' AND rank > 8 AND status = 'done'").num_rows
    assert texts(page, "#trials .filter span") == [f"{expected} of 10000 rows"]
    page.locator("#trials thead button", has_text="wall_s").click()
    page.locator("#trials .rows").evaluate("(box) => box.scrollTo(0, box.scrollHeight)")
    page.locator(f"#trials tbody tr[aria-rowindex='{expected + 1}']").wait_for()
    shown = [float(text) for text in column(page, "wall_s ▲")]
    assert shown == sorted(shown)
    assert "24 of" not in page.locator("#figures").inner_text()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(100)  # fewer rows make the box scroll
    assert page.locator("#trials tbody tr[aria-rowindex]").count() == min(200, expected)
    assert texts(page, "#trials tbody tr:last-child") == [f"and {expected - 200} more rows"], "fewer would not be cut"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#trials tbody tr[aria-rowindex]").count() < 60
