"""A whole table in LaTeX and HTML. Sections become groups of columns; the best numbers are bold."""

from __future__ import annotations

import html
import itertools
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Text(NamedTuple):
    """The text of one cell: a number, which may be bold, and what stands behind it; any other text is `rest`."""

    number: str
    rest: str
    is_bold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The texts of a table.

    Attributes:
        sections: The title of the section of each column; None for a column that names the rows.
        headings: The text above each column.
        right_aligned: Whether each column is aligned at the right.
        rows: The texts of each row.
        groups: The group of each row, if rows are grouped.
        note: What the numbers are; further lines are remarks.
    """

    sections: Sequence[str | None]
    headings: Sequence[str]
    right_aligned: Sequence[bool]
    rows: Sequence[Sequence[Text]]
    groups: Sequence[object]
    note: str

    @property
    def is_empty(self) -> bool:
        """Whether no column has numbers, so that there is nothing but the note."""
        return all(section is None for section in self.sections)

    def spans(self) -> list[tuple[str, int]]:
        """Return the title above neighbouring columns, and their number; nothing if no section has a title."""
        if not any(self.sections):
            return []
        titles = itertools.groupby(self.sections)
        return [(title or "", len(list(columns))) for title, columns in titles]

    def row_groups(self) -> list[list[Sequence[Text]]]:
        """Return the rows by their groups; one group if no two rows share one."""
        groups = self.groups if len(set(self.groups)) < len(self.rows) else [None] * len(self.rows)
        pairs = zip(groups, self.rows, strict=True)
        return [[row for _, row in of_group] for _, of_group in itertools.groupby(pairs, key=lambda pair: pair[0])]


def latex(sheet: Sheet) -> str:
    """Return a ``table`` that needs no package but booktabs; of an empty one, the note as text."""
    if sheet.is_empty:
        return "\n\n".join(map(_latex_text, sheet.note.splitlines())) + "\n"
    alignment = "".join("r" if right else "l" for right in sheet.right_aligned)
    first, *remarks = sheet.note.splitlines() or [""]
    caption = f"{first[:1].upper()}{first[1:]}." if first else ""
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            *([rf"  \caption{{{_latex_text(caption)}}}"] if caption else []),
            rf"  \begin{{tabular}}{{{alignment}}}",
            r"    \toprule",
            *(f"    {line}" for line in _latex_head(sheet)),
            r"    \midrule",
            *(f"    {line}" for line in _latex_body(sheet)),
            r"    \bottomrule",
            r"  \end{tabular}",
            *(rf"  \par\smallskip\footnotesize {_latex_text(remark)}" for remark in remarks),
            r"\end{table}",
            "",
        ]
    )


def _latex_head(sheet: Sheet) -> list[str]:
    lines = []
    spans = sheet.spans()
    if spans:
        titles = [
            rf"\multicolumn{{{width}}}{{c}}{{{_latex_text(title)}}}" if title else " & ".join([""] * width)
            for title, width in spans
        ]
        ends = list(itertools.accumulate(width for _, width in spans))
        rules = [
            rf"\cmidrule(lr){{{end - width + 1}-{end}}}"
            for (title, width), end in zip(spans, ends, strict=True)
            if title
        ]
        lines += [_latex_row(titles), "".join(rules)]
    return [*lines, _latex_row([_latex_text(heading) for heading in sheet.headings])]


def _latex_body(sheet: Sheet) -> list[str]:
    """Return the rows, with a rule around groups of several, in which the first of several labels stands once."""
    has_several = sum(section is None for section in sheet.sections) > 1
    groups, lines = sheet.row_groups(), list[str]()
    for before, group in zip([(), *groups], groups, strict=False):
        lines += [r"\midrule"] if before and len(before) + len(group) > 2 else []
        for index, row in enumerate(group):
            texts = [_latex_cell(text) for text in row]
            is_repeated = has_several and index > 0 and row[0] == group[index - 1][0]
            lines.append(_latex_row(["", *texts[1:]] if is_repeated else texts))
    return lines


def _latex_row(texts: Sequence[str]) -> str:
    line = " & ".join(texts)
    return rf"{{}}{line} \\" if line.startswith(("[", "*")) else rf"{line} \\"  # else an option of the command before


def _latex_cell(text: Text) -> str:
    number, rest = _latex_number(text.number), _latex_number(text.rest) if text.number else _latex_text(text.rest)
    return (rf"\textbf{{{number}}}" if text.is_bold else number) + rest


def _latex_number(text: str) -> str:
    return _latex_text(text).replace("-", "$-$") if re.search(r"\d", text) else _latex_text(text)


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r" $\pm$ ", "\N{EN DASH}": "--", "—": "---", "†": r"$^\dagger$", "‡": r"$^\ddagger$",
    "…": r"\dots{}",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
}  # fmt: skip


def _latex_text(text: str) -> str:
    parts = re.split(r"(?<=-)(?=-)", text)  # else two hyphens become a dash
    return "{}".join("".join(map(_latex_character, part)) for part in parts).replace("  ", " ")


def _latex_character(character: str) -> str:
    """Return a character for every engine: accents on letters stay, and what else is not ASCII is named."""
    if character in _LATEX or character.isascii():
        return _LATEX.get(character, character)
    is_accented = character < "\u0180" and unicodedata.normalize("NFD", character)[0].isascii()
    return character if is_accented else f"U+{ord(character):04X}"


def html_table(sheet: Sheet) -> str:
    """Return a ``table`` element; of an empty one, the note as a paragraph."""
    if sheet.is_empty:
        return f"<p>{_html_text(sheet.note)}</p>"
    lines = ["<table>"]
    if sheet.note:
        style = "caption-side: bottom; text-align: left; padding-top: 0.5em"
        lines.append(f'<caption style="{style}">{_html_text(sheet.note)}</caption>')
    head = ""
    if sheet.spans():
        cells = [
            f'<th colspan="{width}" scope="colgroup" style="text-align: center">{_html_text(title)}</th>'
            if title
            else "<td></td>" * width
            for title, width in sheet.spans()
        ]
        head = f"<tr>{''.join(cells)}</tr>"
    headings = [Text("", heading) for heading in sheet.headings]
    lines.append(f"<thead>{head}{_html_row(sheet, headings, lambda _: 'th scope=col')}</thead>")
    num_labels = sum(section is None for section in sheet.sections)
    for group in sheet.row_groups():
        rows = [_html_row(sheet, row, lambda index: "th scope=row" if index < num_labels else "td") for row in group]
        lines.append(f'<tbody style="border-top: 1px solid">{"".join(rows)}</tbody>')
    return "\n".join([*lines, "</table>"])


def html_page(sheet: Sheet) -> str:
    """Return a page that needs nothing else."""
    style = (
        "body { font-family: system-ui, sans-serif; margin: 2em } table { border-collapse: collapse } "
        "th, td { padding: 0.2em 0.7em } th[scope=row] { font-weight: normal }"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Results</title>'
        f"<style>{style}</style></head>\n<body>\n{html_table(sheet)}\n</body>\n</html>\n"
    )


def _html_row(sheet: Sheet, texts: Sequence[Text], tag: Callable[[int], str]) -> str:
    cells = []
    for index, (text, right) in enumerate(zip(texts, sheet.right_aligned, strict=True)):
        name = tag(index)
        number = html.escape(text.number)
        inner = (f"<strong>{number}</strong>" if text.is_bold else number) + html.escape(text.rest)
        style = f"text-align: {'right' if right else 'left'}"
        cells.append(f'<{name} style="{style}">{inner}</{name.partition(" ")[0]}>')
    return f"<tr>{''.join(cells)}</tr>\n"


def _html_text(text: str) -> str:
    return html.escape(text).replace("\n", "<br>")
