"""Jupyter notebooks: whether this is one, HTML for what a cell shows, and output that is replaced.

Standard library only. IPython is used where it is running, and never needed.
"""

from __future__ import annotations

import html
import importlib
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


class Output:
    """An output of the running cell, whose content is replaced."""

    def __init__(self) -> None:
        self._display: Any = importlib.import_module("IPython.display").display
        self._handle: Any = None

    def show(self, text: str, markup: str) -> None:
        """Show some HTML, and a text where no HTML can be shown."""
        content = {"text/plain": text, "text/html": markup}
        if self._handle is None:
            self._handle = self._display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def html_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, right_aligned: Collection[int] = (), caption: str = ""
) -> str:
    """Return a table as HTML.

    Args:
        headings: The texts above the columns; none for a table without a head.
        rows: The texts of each row.
        right_aligned: The positions of the columns with numbers.
        caption: The text above the table.
    """

    def line(texts: Sequence[str], tag: str) -> str:
        cells = (
            f'<{tag} style="text-align: {"right" if index in right_aligned else "left"}">{html.escape(text)}</{tag}>'
            for index, text in enumerate(texts)
        )
        return f"<tr>{''.join(cells)}</tr>"

    head = f"<thead>{line(headings, 'th')}</thead>" if headings else ""
    above = f'<caption style="text-align: left"><b>{html.escape(caption)}</b></caption>' if caption else ""
    return f"<table>{above}{head}<tbody>{''.join(line(row, 'td') for row in rows)}</tbody></table>"
