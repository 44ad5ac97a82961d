"""The pictures in the README, from the sweep of `make demo`: a figure, and the report page in a browser.

    python -m benchmarks.pictures [--store bilin-store] [--sweep quickstart] [--folder docs/images]

Needs the extra `plot`, playwright and Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from bilin import results

WIDTH, HEIGHT = 1000, 1150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=Path("bilin-store"))
    parser.add_argument("--sweep", default="quickstart")
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    figure = results.plot("length", options.store, sweep=options.sweep)
    results.save_figure(figure, options.folder / "length.png")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(results.report(options.store, [options.sweep]))
        photograph(page, options.folder / "report.png")


def photograph(page_file: Path, picture: Path) -> None:
    """Write what a browser shows of the top of a page to a picture."""
    with sync_playwright() as driver:
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(page_file.as_uri())
        page.locator(".drawing svg").first.wait_for()
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main()
