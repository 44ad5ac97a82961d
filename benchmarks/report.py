"""How large a report of many trials is, how long it takes to write, and how long a browser takes to open and use it.

    python -m benchmarks.report [TRIALS …] [--json report.json]

Needs playwright and Chromium. Browser times are processor time of the page until two frames after the last drawing,
and wall time of a sort and a filter of the trials until the next frame; the best of three.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks.output import Table
from bilin import results
from tests.results.reported import large_store

REPEATS = 3
FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
SORT = """async () => {
  const buttons = [...document.querySelectorAll("#trials thead button")];
  const button = buttons.find((each) => each.textContent.startsWith("lr"));
  const start = performance.now();
  button.click();
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""
FILTER = """async () => {
  const input = document.querySelector("#trials input");
  const start = performance.now();
  input.value = "tier=cp accuracy_scaled@500>0.1 done";
  input.dispatchEvent(new Event("input"));
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""


def opened(browser: Browser, page_file: Path) -> tuple[float, float, float, float]:
    """Processor and wall seconds to open a page, and wall milliseconds of a sort and a filter."""
    page = browser.new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    start = time.perf_counter()
    page.goto(page_file.as_uri())
    page.evaluate("Promise.all([...places].filter((place) => !place.closest('details')).map(draw))")
    page.evaluate(FRAMES)
    wall_s = time.perf_counter() - start
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    page.locator("#trials").scroll_into_view_if_needed()
    page.locator("#trials tbody td").first.wait_for()
    times = metrics["ThreadTime"] if "ThreadTime" in metrics else metrics["TaskDuration"], wall_s
    found = (*times, page.evaluate(SORT), page.evaluate(FILTER))
    page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", type=int, nargs="*", default=[100, 1_000, 10_000])
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    headers = ("page, MB", "written, s", "opened, CPU s", "opened, wall s", "sort, ms", "filter, ms")
    table = Table("trials", *headers)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for size in options.trials:
            store = large_store(Path(folder) / str(size), size)
            start = time.perf_counter()
            text = results.report(store)
            written_s = time.perf_counter() - start
            page_file = Path(folder) / f"{size}.html"
            page_file.write_text(text)
            best = [min(each) for each in zip(*(opened(browser, page_file) for _ in range(REPEATS)), strict=True)]
            table.add(size, len(text.encode()) / 1e6, written_s, *best)
        browser.close()
    table.write(options.json)


if __name__ == "__main__":
    main()
