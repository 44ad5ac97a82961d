"""`report` returns a page about sweeps, with all data, scripts and styles inside.

Facts and tables are HTML, escaped by the template. Trials and figures are data, which the scripts show as text. The
policy of the page (Content-Security-Policy) allows no script and no style but its own, by their hashes, and no network.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bilin.errors import StoreError
from bilin.folder import DEFAULT_STORE
from bilin.results.reports.data import Selection, choices, columns, figures, packed, shown_trials, trials
from bilin.results.reports.facts import cost, facts, hardware, runs, versions
from bilin.results.sql.open_store import at_one_moment
from bilin.results.tables.table import table
from bilin.version import __version__

_FOLDER = Path(__file__).parent
_SCRIPTS = ("table.js", "chart.js", "page.js")


def report(
    store: Path | str = DEFAULT_STORE,
    sweeps: Sequence[str] = (),
    *,
    stat: str | None = None,
    everything: bool = False,
    to_run: Mapping[str, int] | None = None,
) -> str:
    """Return a page in HTML about some sweeps: what was run, the results, and how to repeat it.

    It is one file that needs no network. A browser shows it from a disk or a mail.

    Args:
        store: Directory of the store.
        sweeps: The sweeps to show; by default all of the store.
        stat: A `Statistic`: how the values of the seeds become one number; by default `DEFAULT_STATISTIC`.
        everything: Include rows that the grid of the last launch does not ask for.
        to_run: How many trials each sweep has to run, as `bilin.orchestrator.status` plans. It matters with a pruner
            only: if such a sweep was stopped, the store does not say which pruned trials go on.

    Raises:
        QueryError: The statistic is not one of those accepted.
        StoreError: The store or a sweep does not exist, or cannot be read.
    """
    return at_one_moment(
        store,
        lambda opened: _page(Selection(store=opened, stat=stat, everything=everything), to_run or {}),
        sweeps=sweeps,
        curves=True,
    )


def _page(selection: Selection, to_run: Mapping[str, int]) -> str:
    names = [sweep.folder.name for sweep in selection.store.sweeps]
    if not names:
        raise StoreError(f"the store {selection.store} has no sweep yet; launch one")
    rows, drawn = trials(selection), list(figures(selection))
    documents = {f"figure-{figure.name}": figure.document() for figure in drawn}
    rates = [figure.data for figure in drawn if figure.kind == "lr"]
    shown = {"choices": choices(rates[0])} if rates else {}
    shown |= {"trials": shown_trials(selection, rows)} if rows.num_rows else {}
    documents |= {name: {"table": columns(data)} for name, data in shown.items()}
    found = runs(selection, rows, to_run)
    return _render(
        title=", ".join(names),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=__version__,
        runs=found,
        facts=facts(found, rows),
        num_trials=rows.num_rows,
        headline=table(selection.store, stat=selection.stat, everything=selection.everything).sheet(),
        figures=drawn,
        payloads={name: packed(document) for name, document in documents.items()},
        hardware=hardware(rows),
        cost=cost(selection),
        versions=versions(rows),
    )


def _render(**values: Any) -> str:
    """Fill in the template, which escapes every value."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    allowed = f"script-src {_source(script)}; style-src {_source(style)}"
    policy = f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
    return environment.get_template("page.html").render(policy=policy, script=script, style=style, **values)


def _source(text: str) -> str:
    """Return the hash by which the policy allows a script or a style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
